"""Views are files: every upgrade makes them, and takes nothing from who reads them."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from plain_connection import connect
from sqlalchemy import TableClause, create_engine, make_url
from sqlalchemy.exc import ProgrammingError

from migrations import drift
from tracker.database import schema
from tracker.database.views import ViewNameTaken, ViewsInUse
from tracker.results import views

MINE = "CREATE VIEW public.mine AS SELECT layer, head, mean FROM results.head_scores"
COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = 'results.%s'::regclass AND attnum > 0"
    " ORDER BY attnum"
)
OLDER = "UPDATE headbook.view_file SET sha256 = 'of another file'"


@pytest.fixture
def database(server_urls: dict[str, str]) -> Iterator[str]:
    """A database with the schema of this version, in the cluster that others share."""
    admin, name = make_url(server_urls["postgres"]), f"views_{uuid4().hex[:8]}"
    with connect(admin.render_as_string(hide_password=False)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = admin.set(database=name).render_as_string(hide_password=False)
        schema.upgrade(url)
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def config() -> Config:
    made = Config()
    made.set_main_option("script_location", "migrations:")
    return made


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run the statements; the rows of the last."""
    with connect(url) as connection:
        for statement in statements:
            last = connection.execute(statement)
        return list(last.fetchall()) if last.description else []


def migrate(url: str, config: Config, how: schema.Migrate, revision: str) -> None:
    engine = create_engine(url)
    try:
        schema.apply(engine, config, how, revision)
    finally:
        engine.dispose()


def is_as_the_files_say(url: str) -> bool:
    """Whether the schema is that of this version; pg_dump orders it by what depends on what."""
    return statements(drift.dump(url)) == statements(drift.EXPECTED.read_text())


def statements(dump: str) -> list[str]:
    return sorted(dump.split(";\n"))


def test_each_revision_goes_up_and_down_and_old_ones_have_the_views_of_their_time(
    database: str, config: Config
) -> None:
    revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    seen = []
    for how, order in ((command.downgrade, revisions[1:]), (command.upgrade, revisions[-2::-1])):
        for revision in order:
            migrate(database, config, how, revision)
            if "0005" <= revision < "0018":
                run(database, "SELECT run_id, mean FROM results.head_scores")
                seen.append(revision)
    assert len(seen) == 2 * 13
    assert is_as_the_files_say(database)


def test_views_of_another_version_are_made_anew_where_no_migration_is_pending(
    database: str,
) -> None:
    run(
        database,
        "DROP VIEW results.head_scores",
        "CREATE VIEW results.head_scores AS SELECT id AS old_name FROM headbook.component",
        "DROP VIEW results.run_logs",
        "CREATE VIEW results.no_file_any_more AS SELECT old_name FROM results.head_scores",
        "INSERT INTO headbook.view_file VALUES ('no_file_any_more', '')",
        OLDER,
    )
    schema.upgrade(database)
    assert is_as_the_files_say(database)


def test_a_view_that_somebody_dropped_comes_back(database: str) -> None:
    run(database, "DROP VIEW results.model_renamings")
    schema.upgrade(database)
    assert is_as_the_files_say(database)


@pytest.mark.parametrize("theirs", [MINE, MINE.replace("VIEW", "MATERIALIZED VIEW")])
def test_a_view_on_top_of_ours_outlives_an_upgrade(
    database: str, config: Config, theirs: str
) -> None:
    migrate(database, config, command.downgrade, "0017")
    run(database, theirs)
    schema.upgrade(database)
    assert run(database, "SELECT layer, head, mean FROM public.mine") == []
    assert is_as_the_files_say(database)
    run(database, OLDER, "ALTER VIEW results.head_scores RESET (security_barrier)")
    schema.upgrade(database)
    assert run(database, "SELECT layer, head, mean FROM public.mine") == []
    assert is_as_the_files_say(database)


def test_an_upgrade_that_would_break_a_view_on_top_of_ours_names_it(database: str) -> None:
    run(
        database,
        "DROP VIEW results.head_scores",
        "CREATE VIEW results.head_scores AS SELECT layer, index AS head, 0 AS mean"
        " FROM headbook.component",
        MINE,
        OLDER,
    )
    with pytest.raises(ViewsInUse, match=r"views depend on them: public\.mine\. Drop those"):
        schema.upgrade(database)
    assert run(database, "SELECT layer, head, mean FROM public.mine") == []
    assert run(database, "SELECT DISTINCT sha256 FROM headbook.view_file") == [("of another file",)]


def test_a_view_of_somebody_else_is_not_taken_for_ours(database: str) -> None:
    run(database, "DELETE FROM headbook.view_file WHERE name = 'run_logs'")
    with pytest.raises(ViewNameTaken, match=r"already exists: results\.run_logs\. Rename"):
        schema.upgrade(database)


def test_rights_that_somebody_gave_outlive_an_upgrade(database: str) -> None:
    role = f"ada_{uuid4().hex[:8]}"
    run(
        database,
        f'CREATE ROLE "{role} of it"',
        f'GRANT SELECT ON results.head_scores TO "{role} of it" WITH GRANT OPTION',
        "GRANT SELECT ON results.run_inputs TO PUBLIC",
        OLDER,
    )
    schema.upgrade(database)
    given = run(
        database,
        "SELECT relname, is_grantable FROM pg_class, aclexplode(relacl)"
        f" WHERE relkind = 'v' AND grantee IN (0, '\"{role} of it\"'::regrole) ORDER BY 1",
    )
    assert [each for each in given if str(each[0]) in ("head_scores", "run_inputs")] == [
        ("head_scores", True),
        ("run_inputs", False),
    ]
    run(database, f'DROP OWNED BY "{role} of it"', f'DROP ROLE "{role} of it"')


LATER = """
from alembic import op

revision, down_revision = "later", "{head}"

def upgrade():
    op.execute("ALTER TABLE headbook.{up}")

def downgrade():
    op.execute("ALTER TABLE headbook.{down}")
"""


@pytest.fixture
def head(config: Config) -> str:
    return str(ScriptDirectory.from_config(config).get_current_head())


def add_migration(config: Config, folder: Path, head: str, *, up: str, down: str) -> None:
    (folder / "later.py").write_text(LATER.format(head=head, up=up, down=down))
    ours = ScriptDirectory.from_config(config).versions
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", f"{ours}:{folder}")


def test_a_migration_may_change_a_column_below_a_view(
    database: str, config: Config, head: str, tmp_path: Path
) -> None:
    column = "score ALTER COLUMN n TYPE"
    add_migration(config, tmp_path, head, up=f"{column} bigint", down=f"{column} integer")
    typed = "SELECT pg_typeof(n)::text FROM results.head_scores RIGHT JOIN (SELECT) AS one ON true"
    migrate(database, config, command.upgrade, "later")
    assert run(database, typed) == [("bigint",)]
    migrate(database, config, command.downgrade, head)
    assert run(database, typed) == [("integer",)]
    assert is_as_the_files_say(database)


def test_a_migration_whose_view_file_was_forgotten_changes_nothing(
    database: str, config: Config, head: str, tmp_path: Path
) -> None:
    to, back = "RENAME renamed_by TO author", "RENAME author TO renamed_by"
    table = "model_renaming"
    add_migration(config, tmp_path, head, up=f"{table} {to}", down=f"{table} {back}")
    with pytest.raises(ProgrammingError, match="renamed_by"):
        migrate(database, config, command.upgrade, "later")
    assert is_as_the_files_say(database)


def test_the_reader_may_read_every_view(database: str) -> None:
    names = run(database, "SELECT viewname FROM pg_views WHERE schemaname = 'results'")
    assert len(names) > len(views.ALL)
    for (name,) in names:
        run(database, "SET ROLE headbook_reader", f"SELECT * FROM results.{name} LIMIT 1")


def test_queries_name_the_columns_that_the_views_have(database_url: str) -> None:
    for view in views.ALL:
        assert isinstance(view, TableClause)
        found = run(database_url, COLUMNS % view.name)
        assert [column.name for column in view.columns] == [name for (name,) in found]

"""What a visitor sees and presses, and what is in the database."""

from pathlib import Path

import app
from tracker import results
from tracker.database.db import transaction

MAIN = str(Path(app.__file__).with_name("main.py"))


def all_runs(sessions):
    with transaction(sessions) as session:
        return results.runs(session)


def words(elements):
    return " ".join(str(each.value) for each in elements)


def press(at, label):
    (button,) = [each for each in at.button if each.label.startswith(label)]
    return button.click().run()

"""Secrets of a policy: what is known as theirs, for how long, and where."""

import json
from dataclasses import asdict, replace

import pytest

from tracker.access import signed_tokens
from tracker.access.mlflow_routes import offered
from tracker.access.policy import AccessPolicy
from tracker.home.home import Home
from tracker.secrets.logins import Login, apart
from tracker.secrets.redaction import STRUCK, without_credentials
from tracker.supervisor import passwords
from tracker.supervisor.errors import DamagedFile
from tracker.supervisor.options import BadToken, NotALogin, StackOptions

POLICY = AccessPolicy(
    name="app",
    port=8501,
    hosts=("127.0.0.1", "localhost", "book.example"),
    token="t" * 30,
    login=Login(user="headbook", password="p:w"),
    origin="https://book.example",
)


def test_a_cookie_is_good_at_its_own_door_of_its_own_home_until_it_ends() -> None:
    cookie = POLICY.new_cookie()
    assert POLICY.knows_cookie(["another", cookie])
    for other in ({"port": 8502}, {"name": "mlflow"}, {"token": "u" * 30}, {"token": None}):
        assert not replace(POLICY, **other).knows_cookie([cookie])
    ended = signed_tokens.issue("t" * 30, "cookie app 8501", seconds=-1)
    assert not POLICY.knows_cookie([ended])
    later = str(int(ended.partition(".")[0]) + 9999) + ended[ended.index(".") :]
    assert not POLICY.knows_cookie([later, "", ".", "٣.x", "9" * 99 + ".x"])


def test_a_link_of_a_minute_is_no_cookie_and_a_cookie_no_link() -> None:
    assert POLICY.knows_token("t" * 30)
    assert POLICY.knows_token(POLICY.new_link())
    assert not POLICY.knows_token(POLICY.new_cookie())
    assert not POLICY.knows_cookie([POLICY.new_link(), "t" * 30])
    assert not replace(POLICY, token=None).knows_token("None")


def test_a_login_is_known_by_its_name_and_its_whole_password() -> None:
    def known(user: str, password: str) -> bool:
        return POLICY.knows_login(Login(user=user, password=password).header["Authorization"])

    assert known("headbook", "p:w")
    assert not any(known(*each) for each in (("headbook", "p"), ("headboo", "kp:w"), ("", "")))
    assert not POLICY.knows_login(None)
    assert not replace(POLICY, login=None).knows_login("Basic Og==")


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8501", True),
        ("LOCALHOST:9000", True),  # through a tunnel with another port at its end
        ("book.example.", True),
        ("book.example.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("localhost:1/@evil.example", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_a_host_is_ours_by_its_whole_name(host: str, ours: bool) -> None:
    assert POLICY.is_own_host(host) is ours


def test_a_page_is_our_own_at_the_same_port_or_behind_the_proxy() -> None:
    assert POLICY.is_own_page("http://localhost:9000", "localhost:9000")
    assert POLICY.is_own_page("https://book.example", "127.0.0.1:8501")
    for other in ("http://localhost:9001", "https://book.example:444", "null", ""):
        assert not POLICY.is_own_page(other, "localhost:9000")


def test_a_door_is_told_by_the_environment_and_shows_no_secret() -> None:
    assert AccessPolicy.from_environment(POLICY.environment) == POLICY
    assert without_credentials(f"{POLICY.token} opens it") == f"{STRUCK} opens it"
    assert "ttt" not in repr(POLICY)
    assert "p:w" not in repr(POLICY)


def test_a_home_from_before_there_were_tokens_keeps_its_passwords(home: Home) -> None:
    home.root.mkdir(mode=0o700)
    first = passwords.of_home(home)
    older = {k: v for k, v in asdict(first).items() if k not in passwords.LATER}
    home.secrets_file.write_text(json.dumps(older))
    second = passwords.of_home(home)
    assert {k: v for k, v in asdict(second).items() if k in older} == older
    assert second.token not in (first.token, "")
    assert passwords.of_home(home) == second
    assert home.secrets_file.stat().st_mode & 0o077 == 0
    for damaged in ("[]", "{}", '"token"', "7"):
        home.secrets_file.write_text(damaged)
        with pytest.raises(DamagedFile):
            passwords.of_home(home)


def test_a_weak_token_and_an_unknown_login_are_refused_by_name() -> None:
    given = StackOptions.from_environment({"HEADBOOK_APP_TOKEN": "k" * 20})
    assert (given.app_token, given.app_asks) == ("k" * 20, True)
    assert not StackOptions.from_environment({"HEADBOOK_APP_LOGIN": "none"}).app_asks
    for weak in ("k" * 19, "k" * 30 + "&x", "k" * 30 + "é"):
        with pytest.raises(BadToken) as refused:
            StackOptions.from_environment({"HEADBOOK_APP_TOKEN": weak})
        assert weak not in str(refused.value)
    with pytest.raises(NotALogin, match="HEADBOOK_APP_LOGIN is 'off'"):
        StackOptions.from_environment({"HEADBOOK_APP_LOGIN": "off"})


def test_a_login_in_an_address_comes_out_as_it_went_in() -> None:
    login = Login(user="a b", password="p:w/@?#%")
    assert apart(login.within("http://127.0.0.1:1/x")) == ("http://127.0.0.1:1/x", login)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/2.0/mlflow/runs/get\n"),
        ("GET", "/api/2.0/mlflow/runs/getx"),
        ("get", "/version"),
        ("PATCH", "/api/2.0/mlflow/runs/get"),
        ("POST", "/api/2.0/mlflow/runs/create-promptlab-run"),
        ("GET", "/apix/2.0/mlflow/runs/get"),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts"),
    ],
)
def test_what_is_only_like_an_offer_is_none(method: str, path: str) -> None:
    assert not offered(method, path)

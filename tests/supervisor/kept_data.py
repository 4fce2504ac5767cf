"""Something in each of a stack's stores, to be found again."""

import json

import psycopg
import redis
from plain_connection import plain


def keep_something(home):
    """One row and one key, to be found again."""
    state = home.running()
    with psycopg.connect(superuser(home)) as connection:
        connection.execute("CREATE TABLE public.kept (one) AS VALUES (1)")
    with broker(state) as connection:
        connection.set("kept", "yes")


def check_kept(home):
    with psycopg.connect(superuser(home)) as connection:
        assert connection.execute("SELECT one FROM public.kept").fetchall() == [(1,)]
    with broker(home.running()) as connection:
        assert connection.get("kept") == b"yes"


def superuser(home):
    password = json.loads(home.secrets_file.read_text())["postgres"]
    _, _, place = plain(home.running().database_url).partition("@")
    return f"postgresql://postgres:{password}@{place}"


def broker(state):
    password, _, path = state.broker_url.removeprefix("redis+socket://:").partition("@")
    return redis.Redis(unix_socket_path=path.partition("?")[0], password=password)

"""The links by which people come in."""

from tracker.gate.door import TOKEN


def with_token(url: str, token: str | None) -> str:
    """The address with a token in its query, where there is one."""
    if token is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}{TOKEN}={token}"

"""Sign-in links."""

from tracker.access.policy import TOKEN


def with_token(url: str, token: str | None) -> str:
    """The address with the token, if any, in its query."""
    if token is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}{TOKEN}={token}"

"""Signed tokens that expire, for cookies and for links from one server of the stack to another.

A token is valid for one purpose and reveals nothing about the secret it was signed with.
"""

import hmac
import time


def equal(sent: str, secret: str) -> bool:
    """Whether they are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(sent.encode(errors="replace"), secret.encode())


def issue(secret: str, purpose: str, *, seconds: float) -> str:
    """A token that is valid for this purpose for that many seconds."""
    end = int(time.time() + seconds)
    return f"{end}.{_signature(secret, purpose, end)}"


def valid(token: str, secret: str, purpose: str) -> bool:
    """Whether the token was issued with this secret for this purpose and has not expired."""
    end, _, signature = token.partition(".")
    if not (end.isascii() and end.isdecimal() and len(end) < 16):
        return False
    return equal(signature, _signature(secret, purpose, int(end))) and time.time() < int(end)


def _signature(secret: str, purpose: str, end: int) -> str:
    return hmac.digest(secret.encode(), f"{purpose} until {end}".encode(), "sha256").hex()

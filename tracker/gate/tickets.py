"""Signed words that end: what a cookie holds, and what a link to another server of ours holds.

Each is good for one purpose, and says nothing of the secret it was made with.
"""

import hmac
import time

from tracker.gate.alike import alike


def issue(secret: str, purpose: str, *, seconds: float) -> str:
    """A word that is good for this purpose for so long."""
    end = int(time.time() + seconds)
    return f"{end}.{_signature(secret, purpose, end)}"


def valid(ticket: str, secret: str, purpose: str) -> bool:
    """Whether it was issued with this secret for this purpose, and has not ended."""
    end, _, signature = ticket.partition(".")
    if not (end.isascii() and end.isdecimal() and len(end) < 16):
        return False
    return alike(signature, _signature(secret, purpose, int(end))) and time.time() < int(end)


def _signature(secret: str, purpose: str, end: int) -> str:
    return hmac.digest(secret.encode(), f"{purpose} until {end}".encode(), "sha256").hex()

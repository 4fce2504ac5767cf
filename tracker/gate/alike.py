"""Comparing what was sent with a secret, in a time that does not depend on where they differ."""

import hmac


def alike(sent: str, secret: str) -> bool:
    return hmac.compare_digest(sent.encode(errors="replace"), secret.encode())

"""Passwords that this process was told, and texts in which they are struck out.

What is known is struck out wherever it stands, so that nothing depends on whether an address can
be parsed; addresses of others are found by their form.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

STRUCK = "***"

_HOST = r"(?:\[[^\]\s]*\]|[^:/?#@\s,\[\]]*)(?::\d+)?"
_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://"
    r"(?:(?P<user>[^:/?#@\s]*)(?::(?P<password>[^/?#@\s]*))?@)?"
    rf"(?P<place>{_HOST}(?:,{_HOST})*)(?P<rest>(?:[/?][^#\s]*)?)"
)
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*:/+|/+")
_NEXT = re.compile(r";(?=[A-Za-z][\w+.-]*:/)")  # kombu separates brokers by semicolons
_BREAKS = re.compile(r"[/?#@:,;&\s]+")  # where a parser may cut a password that is not quoted
_NAMED = re.compile(
    r"""(?P<name>\b(?:\w*password|passwd|passphrase|pwd|access_token|auth_token|api_key|secret)
    (?:\s*=\s*|"\s*:\s*|'\s*:\s*))(?P<value>'[^']*'|"[^"]*"|[^\s&;,'"()]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# A number before a slash is a port, unless the address is one that was told.
_FOREIGN = re.compile(r"(?<=://)[^/@\s'\"]*:(?!\d+[/?#])(?:(?!://)[^\s'\"])*@")

_known: set[str] = set()
_patterns: tuple[re.Pattern[str], ...] = ()


def learn(*addresses: str | None) -> None:
    """Strike the passwords of these addresses out of what is shown from now on."""
    for address in addresses:
        for secret in secrets_of(address or ""):
            learn_secret(secret)


def learn_secret(secret: str | None) -> None:
    """Strike this out of what is shown from now on, in every form in which it may be written."""
    global _patterns
    new = {form for form in _forms(secret or "") if form} - _known
    if new:
        _known.update(new)
        _patterns = tuple(_compiled(_known))


def without_credentials(text: str) -> str:
    """The text as it may be shown: without what was learned, nor credentials in addresses."""
    for pattern in _patterns:
        text = pattern.sub(STRUCK, text)
    text = _FOREIGN.sub(f"{STRUCK}@", text)
    return _NAMED.sub(rf"\g<name>{STRUCK}", text)


def without_password(address: str) -> str:
    """The address as it may be shown; of one that is malformed no more than its scheme."""
    return ";".join(map(_shown, _NEXT.split(address)))


def _shown(address: str) -> str:
    if (found := _well_formed(address)) is None:
        scheme = _SCHEME.match(address)
        secret = "@" in address or "://" in address or _NAMED.search(address)
        return (scheme[0] if scheme else "") + STRUCK if secret else address
    who = ""
    if found["user"] is not None:
        who = found["user"] + ("" if found["password"] is None else f":{STRUCK}") + "@"
    rest = _NAMED.sub(rf"\g<name>{STRUCK}", found["rest"])
    return f"{found['scheme']}://{who}{found['place']}{rest}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line that may be shown; a log has the rest."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return without_credentials(lines[0])[:300]


def secrets_of(address: str) -> set[str]:
    """The passwords in an address; of a malformed one every piece that may belong to one."""
    found: set[str] = set()
    for one in _NEXT.split(address.strip()):
        found |= {named["value"].strip("'\"") for named in _NAMED.finditer(one)}
        well_formed = _well_formed(one)
        if well_formed is None:
            found |= _pieces(one)
        elif well_formed["password"] and well_formed["password"] != well_formed["user"]:
            found.add(well_formed["password"])
            login = f"{well_formed['user']}:{unquote(well_formed['password'])}"
            found.add(
                b64encode(login.encode(errors="surrogateescape")).decode()
            )  # as HTTP sends it
    return found - {""}


def _well_formed(address: str) -> re.Match[str] | None:
    found = _ADDRESS.fullmatch(address)
    cut_short = found and found["user"] is None and ":" in found["place"] and "@" in found["rest"]
    return None if cut_short else found


def _pieces(address: str) -> set[str]:
    scheme = _SCHEME.match(address)
    before, at, _ = address[scheme.end() if scheme else 0 :].rpartition("@")
    if at:
        user, colon, password = before.partition(":")
        cuts = list(_BREAKS.finditer(password)) if colon else []
        heads, tails = {password[: c.start()] for c in cuts}, {password[c.end() :] for c in cuts}
        return {password, *heads, *tails, *_BREAKS.split(password)} - {user}
    if "//" not in address:
        return set()
    after = address.partition("//")[2].partition(":")[2]
    first = _BREAKS.split(after)[0]
    return set() if first.isdigit() else {first}


def _forms(secret: str) -> Iterator[str]:
    plain = {secret, unquote(secret), unquote_plus(secret)}
    raw = "surrogateescape"  # a password in another encoding than the shell's
    for each in plain:
        yield from (each, quote(each, errors=raw), quote(each, safe="", errors=raw))
        yield quote_plus(each, errors=raw)
        yield from (repr(each)[1:-1], json.dumps(each)[1:-1])


def _compiled(secrets: set[str]) -> Iterator[re.Pattern[str]]:
    """A long one anywhere, a word or a short one only where it stands as a value."""
    before, after = r"(?<=[:='\"@(\[,])", r"(?=[@'\"])"
    places = {
        "anywhere": "{}",
        "value": rf"(?:{before}{{0}}(?!\w)|(?<!\w){{0}}{after})",
        "quoted": r"(?:(?<=['\"]){0}(?=['\"])|(?<=:){0}(?=@))",
    }
    by_place: dict[str, list[str]] = {}
    for secret in sorted(secrets, key=len, reverse=True):
        by_place.setdefault(_place(secret), []).append(re.escape(secret))
    for place, escaped in by_place.items():
        yield re.compile(places[place].format(f"(?:{'|'.join(escaped)})"), re.IGNORECASE)


def _place(secret: str) -> str:
    if len(secret) >= (12 if secret.isalpha() else 6):
        return "anywhere"
    number = secret.isdigit()
    return "value" if len(secret) >= 3 and not number else "quoted"

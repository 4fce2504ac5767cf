"""Redacts secrets from texts: those this process knows, and whatever looks like a secret.

Known secrets are redacted wherever they occur, so nothing depends on whether a URL can be parsed;
unknown ones are recognized by their form.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from tracker.secrets import secret_forms
from tracker.secrets.secret_forms import STRUCK as STRUCK

_HOST = r"(?:\[[^\]\s]*\]|[^:/?#@\s,\[\]]*)(?::\d+)?"
_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://"
    r"(?:(?P<user>[^:/?#@\s]*)(?::(?P<password>[^/?#@\s]*))?@)?"
    rf"(?P<place>{_HOST}(?:,{_HOST})*)(?P<rest>(?:[/?][^#\s]*)?)"
)
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*:/+|/+")
_NEXT = re.compile(r";(?=[A-Za-z][\w+.-]*:/)")  # kombu separates brokers by semicolons
_BREAKS = re.compile(r"[/?#@:,;&\s]+")  # where a parser may split an unquoted password
# Parts of an unparsable URL that may be shown: a word, a host with a port, a path.
_HARMLESS = re.compile(r"[\w.-]+(?::\d+)?|\.{0,2}/[^:@=?&]*")
_LONGEST_FILE = 100_000  # bytes of a file of passwords
_TOKEN = 12  # a user name this long, without a password, is taken for a token
_SWITCHES = frozenset(("true", "false", "yes", "no", "on", "off", "none", "0", "1"))

_known: set[str] = set()
_patterns: tuple[re.Pattern[str], ...] = ()


def learn(*addresses: str | None) -> None:
    """Redact the passwords of these URLs from now on."""
    for address in addresses:
        for secret in secrets_of(address or ""):
            learn_secret(secret)


def learn_secret(secret: str | None) -> None:
    """Redact this secret from now on, in every encoding in which it may appear."""
    global _patterns
    new = {form for form in _forms(secret or "") if form} - _known
    if new:
        _known.update(new)
        _patterns = tuple(_compiled(_known))


def learn_environment(environment: Mapping[str, str]) -> None:
    """Redact the values of variables with secret names, and the passwords of all URLs in them."""
    for name, value in environment.items():
        given = value.strip()
        if secret_forms.is_secret_variable(name) and given.lower() not in _SWITCHES:
            learn_secret(given)
        elif "@" in given or secret_forms.named_values(given):
            learn(given if "://" in given else None)
    learn_file(environment.get("PGPASSFILE"))


def learn_file(passfile: str | None) -> None:
    """Redact the passwords of a libpq password file: the last field of each line."""
    try:
        path = Path(passfile or "")
        if not passfile or not path.is_file() or path.stat().st_size > _LONGEST_FILE:
            return
        for line in path.read_text(errors="surrogateescape").splitlines():
            fields = re.split(r"(?<!\\):", line, maxsplit=4)
            if len(fields) == 5 and not line.startswith("#"):
                learn_secret(re.sub(r"\\(.)", r"\1", fields[4]))
    except (OSError, ValueError):  # libpq reports what is wrong with it
        return


def without_credentials(text: str) -> str:
    """The text with known secrets, and whatever has the form of one, redacted."""
    for pattern in _patterns:
        text = pattern.sub(STRUCK, text)
    return secret_forms.struck(text)


def without_password(address: str) -> str:
    """The URL with its secrets redacted; only the scheme of a malformed one."""
    return ";".join(map(_shown, _NEXT.split(address)))


def _shown(address: str) -> str:
    if (found := _well_formed(address)) is None:
        if _HARMLESS.fullmatch(address):
            return address
        scheme = _SCHEME.match(address)
        return (scheme[0] if scheme else "") + STRUCK
    who = ""
    if found["user"] is not None:
        user = STRUCK if _is_token(found) else found["user"]
        who = user + ("" if found["password"] is None else f":{STRUCK}") + "@"
    rest = secret_forms.named_struck(found["rest"])
    return f"{found['scheme']}://{who}{found['place']}{rest}"


def _is_token(address: re.Match[str]) -> bool:
    """Whether a web URL has a token in place of a user name."""
    return address["scheme"].lower().endswith(("http", "https")) and not address["password"]


def first_line(error: BaseException) -> str:
    """The first line of an error's message, redacted."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return without_credentials(lines[0])[:300]


def secrets_of(address: str) -> set[str]:
    """The passwords in a URL; of a malformed one, every piece that may belong to one."""
    found: set[str] = set()
    for one in _NEXT.split(address.strip()):
        found |= secret_forms.named_values(one)
        well_formed = _well_formed(one)
        if well_formed is None:
            found |= _pieces(one)
        elif len(user := well_formed["user"] or "") >= _TOKEN and _is_token(well_formed):
            found.add(user)
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
    if _HARMLESS.fullmatch(address):
        return set()
    if "//" not in address:
        return {address, address.partition(":")[2], address.rpartition(":")[2]}
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
    """A long secret is redacted anywhere, a word or a short one only where it is a value."""
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

"""Patterns of secrets: values of telling names, URLs and headers, prefixes of known token issuers.

No secret is known here. `token` alone is not a telling name: models have tokens too.
"""

import re
from urllib.parse import unquote_plus

STRUCK = "***"

_KINDS = (
    r"passw(?:or)?d|passphrase|passwd|pwd|secret|credentials?"
    r"|(?:access|auth|api|refresh|id|bearer|security|session|hf|hub|tracking|private|sas)[_-]?token"
    r"|(?:api|access|account|secret|private|signing|shared)[_-]?key|sharedaccesssignature"
    r"|x-\w+(?:-\w+){0,4}-(?:signature|credential|security-token)"
)
# In quotes, however deeply nested: each level adds backslashes.
_STRING = (
    r"""[bBrRuU]?(?P<quote>\\*["'])(?:(?P=quote){2}|(?!(?<!\\)(?P=quote)).)*(?<!\\)(?P=quote)"""
)
_NAMED = re.compile(
    rf"""(?P<name>(?:{_KINDS})(?:\s*=\s*|\\*["']\s*:\s*))"""
    rf"""(?P<value>{_STRING}|(?:\\+.|[^\s&'"\\])+)""",
    re.IGNORECASE | re.DOTALL,
)
_PUNCTUATION = ",;)]}>."
# Names that are telling only in the query of a URL.
_IN_QUERY = re.compile(
    rf".*(?:{_KINDS})|token|sig|signature|key|code|sas|jwt|auth|pass|session", re.IGNORECASE
)
_QUERY = re.compile(r"""(?<=[?&])(?P<name>[^=&?\s'"<>]+)=(?P<value>[^&#\s'"<>]*)""")
_OTHERS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Credentials in a URL. A number before a slash is a port.
    (re.compile(r"(?<=://)[^/@\s:'\"]*:(?!\d+[/?#])(?:(?!://)[^\s'\"])*@"), f"{STRUCK}@"),
    (re.compile(r"(?<=://)[^\s/@:'\"]{20,}@"), f"{STRUCK}@"),  # a token in place of a user name
    # The same without a scheme, before something that can only be a host.
    (
        re.compile(
            r"(?<![\w.@+-])(?!hub:)[\w.+-]+:[^\s/@:'\"]+@"
            r"(?=[\w-]+(?:\.[\w-]+)+|localhost\b|\[|[\w-]+[:/])"
        ),
        f"{STRUCK}@",
    ),
    # HTTP headers.
    (
        re.compile(
            r"""(\b(?:proxy-)?authorization\b\\?["']?\s*[:=]\s*[bu]?\\?["']?)"""
            r"""(?:\w+[ ]+)?[^\s'",;\\]+""",
            re.IGNORECASE,
        ),
        rf"\1{STRUCK}",
    ),
    (re.compile(r"\b(bearer\s+)[\w.~+/-]{8,}=*", re.IGNORECASE), rf"\1{STRUCK}"),
    (
        re.compile(r"""(\b(?:set-)?cookie\b["']?\s*:\s*["']?)[^'"\n]+""", re.IGNORECASE),
        rf"\1{STRUCK}",
    ),
    (
        re.compile(
            r"""(\b(?:x-[\w-]{0,40}?(?:key|token)|private-token)["']?\s*:\s*["']?)[^\s'",;]+""",
            re.IGNORECASE,
        ),
        rf"\1{STRUCK}",
    ),
    # Command-line options, lines of files, SQL statements, and password hashes of Postgres.
    (
        re.compile(
            r"(--[\w-]{0,40}?(?:password|token|secret|api-key|requirepass)[ =])\S+", re.IGNORECASE
        ),
        rf"\1{STRUCK}",
    ),
    (
        re.compile(
            r"^([ \t]*[\w.-]*(?:password|requirepass)(?:\s*:)?[ \t]+)(?=\S)[^\s:]+$",
            re.IGNORECASE | re.MULTILINE,
        ),
        rf"\1{STRUCK}",
    ),
    (re.compile(r"\b(password\s+)E?'(?:[^'\\]|''|\\.)*'", re.IGNORECASE), rf"\1{STRUCK}"),
    (re.compile(r"SCRAM-SHA-256\$[\w+/=:$]+"), STRUCK),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[^\n]*|\Z)", re.DOTALL), STRUCK),
    # Prefixes of known token issuers.
    (
        re.compile(
            r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
            r"|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}|dapi[0-9a-f]{32}"
            r"|(?<!-)eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
        ),
        STRUCK,
    ),
)
_VARIABLE = re.compile(
    r"(?:^|_)(?:PG|MYSQL|REDIS)?(?:PASSWORD|PASSWD|PASSPHRASE|PASS|SECRET|TOKEN|CREDENTIALS?|AUTH"
    r"|API_?KEY|ACCESS_KEY|ACCOUNT_KEY|PRIVATE_KEY|SIGNATURE|SAS|CONNECTION_STRING)(?:_[A-Z0-9_]+)?$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"_(?:ID|FILE|PATH|DIR|FOLDER|URL|URI|HOST|PORT|NAME|USER|SOCK|TTL|SECONDS|MODE|TYPE)$",
    re.IGNORECASE,
)


def struck(text: str) -> str:
    """The text with everything redacted that has the form of a secret."""
    for pattern, instead in _OTHERS:
        text = pattern.sub(instead, text)
    return named_struck(text)


def named_struck(text: str) -> str:
    """The text with the values of telling names redacted."""
    text = _QUERY.sub(_without_value, text)
    return _NAMED.sub(lambda found: f"{found['name']}{STRUCK}{_tail(found['value'])}", text)


def named_values(text: str) -> set[str]:
    """The values of telling names, unquoted."""
    found = {
        _plain(each["value"].removesuffix(_tail(each["value"]))) for each in _NAMED.finditer(text)
    }
    found |= {each["value"].removesuffix(_tail(each["value"])) for each in _NAMED.finditer(text)}
    for each in _QUERY.finditer(text):
        if _IN_QUERY.fullmatch(unquote_plus(each["name"])):
            found |= {each["value"], unquote_plus(each["value"])}
    return found - {""}


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable holds a secret, judging by its name."""
    return bool(_VARIABLE.search(name)) and not _NO_SECRET.search(name)


def _without_value(found: re.Match[str]) -> str:
    secret = found["value"] and _IN_QUERY.fullmatch(unquote_plus(found["name"]))
    return f"{found['name']}={STRUCK}" if secret else found[0]


def _tail(value: str) -> str:
    """The punctuation after an unquoted value at the end of a sentence."""
    if value[-1:] in "'\"":
        return ""
    return value[len(value.rstrip(_PUNCTUATION)) :]


def _plain(value: str) -> str:
    """Without quotes and escapes."""
    inner = re.sub(r"""^[bBrRuU]?(\\*["'])(.*)\1$""", r"\2", value, flags=re.DOTALL)
    return re.sub(r"\\(.)", r"\1", inner)

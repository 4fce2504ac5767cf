"""What a score measures: a metric, at a site, under varied settings."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import total_ordering
from numbers import Integral, Real

Value = str | int | float | bool

OF = "of"  # what the metric is of; written first, without the name: `logit_diff`
VARIANT = "variant"  # written last, without the name: `q/placebo`
_NAME = re.compile(r"[a-z]\w*", re.ASCII)
_NAMED = re.compile(r"(?:^|/)([a-z]\w*)=", re.ASCII)


def spelled(value: Value) -> str:
    """A value as it is written in a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)


def _checked(name: str, value: object) -> Value:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(
            f"Invalid name of a varied setting: {name!r}. Use a lower-case word such as 'placebo'."
        )
    if isinstance(value, bool) or (isinstance(value, str) and value):
        return value if isinstance(value, bool) else str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        number = float(value)
        return int(number) if number.is_integer() else number
    raise ValueError(
        f"Invalid value of {name}: {value!r}. Use a non-empty text, a finite number or a bool."
    )


def _written(values: Mapping[str, Value]) -> str:
    named = [f"{name}={spelled(values[name])}" for name in values if name not in (OF, VARIANT)]
    first = [spelled(values[OF])] if OF in values else []
    last = f"/{spelled(values[VARIANT])}" if VARIANT in values else ""
    return "/".join([*first, *named]) + last


def _read(text: str) -> dict[str, Value]:
    names = list(_NAMED.finditer(text))
    ends = [name.start() for name in names[1:]] + [len(text)]
    values = {OF: text[: names[0].start()] if names else text}
    values |= {name[1]: text[name.end() : end] for name, end in zip(names, ends, strict=False)}
    last = list(values)[-1]
    value, _, variant = values[last].partition("/")
    if variant:
        values |= {last: value, VARIANT: variant}
    return {name: _value(spelling) for name, spelling in values.items() if spelling}


def _value(text: str) -> Value:
    """The number or bool with exactly this spelling, or else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number) and spelled(number) == text:
            return number
    return text


@total_ordering
class Varied(Mapping[str, Value]):
    """The varied settings of a quantity: an immutable mapping of names to values.

    `text` is its canonical form, used in tables, metric names and files: `keys=label_0`. Two are
    equal if their texts are equal, which is how the database compares them.

    >>> Varied({"mutation": "shuffled", "of": "loss"}).text
    'loss/mutation=shuffled'
    >>> dict(Varied.read("position=0"))
    {'position': 0}
    """

    __slots__ = ("_values", "text")

    _values: dict[str, Value]
    text: str

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        """Raises `ValueError` if a name is not a lower-case word or a value cannot be written."""
        checked = {name: _checked(name, value) for name, value in sorted((values or {}).items())}
        object.__setattr__(self, "_values", checked)
        object.__setattr__(self, "text", _written(checked))

    @classmethod
    def read(cls, text: str) -> "Varied":
        """Parse a text; a text that is not canonical becomes the value of `of` as a whole."""
        parsed = cls(_read(text)) if text else cls()
        return parsed if parsed.text == text else cls({OF: text})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Cannot set {name}: a Varied is immutable. Create a new one.")

    def __reduce__(self) -> tuple[type["Varied"], tuple[dict[str, Value]]]:
        return type(self), (dict(self),)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Varied):
            return self.text == other.text
        return bool(self._values == other)

    def __lt__(self, other: object) -> bool:
        return self.text < other.text if isinstance(other, Varied) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return repr(self._values)


NOTHING = Varied()


def as_varied(values: Mapping[str, Value]) -> Varied:
    """`values` as a `Varied`; raises `ValueError` as `Varied` does."""
    return values if isinstance(values, Varied) else Varied(values)


@dataclass(frozen=True, order=True, init=False)
class Quantity:
    """What a score measures about a component: `metric`, at `site` if it has one.

    >>> Quantity("weight", varied={"keys": "labels"}).condition
    'keys=labels'
    """

    metric: str
    site: str
    varied: Varied

    def __init__(self, metric: str, site: str = "", varied: Mapping[str, Value] = NOTHING) -> None:
        object.__setattr__(self, "metric", metric)
        object.__setattr__(self, "site", site)
        object.__setattr__(self, "varied", as_varied(varied))
        # Computed once: a summary looks up every score in every resample.
        object.__setattr__(self, "_hash", hash((metric, site, self.varied)))

    def __hash__(self) -> int:
        stored: int = self._hash  # type: ignore[attr-defined]
        return stored

    def __reduce__(self) -> tuple[type["Quantity"], tuple[str, str, Varied]]:
        return type(self), (self.metric, self.site, self.varied)  # hashes differ by process

    @property
    def condition(self) -> str:
        """The text of the varied settings; empty if there are none."""
        return self.varied.text

    def __str__(self) -> str:
        return " ".join(filter(None, (self.metric, self.site, self.condition)))

    def as_json(self) -> dict[str, object]:
        """The quantity as a JSON object."""
        return {"metric": self.metric, "site": self.site, "varied": dict(self.varied)}

    @property
    def at_any_site(self) -> "Quantity":
        """The same quantity without its site, to compare quantities across sites."""
        return Quantity(self.metric, varied=self.varied)

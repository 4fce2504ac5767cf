"""Users' templates: a small, safe subset of Jinja that keeps track of every span.

Questions, labels and options are rendered between marker characters that neither data nor template
may contain. The markers give the spans and are then removed; nothing is searched for in the text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from jinja2 import StrictUndefined, Template, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

from analyses.errors import Refused
from analyses.prompts.bounds import Bounds
from analyses.prompts.files import read_text
from analyses.prompts.plans import Plan, Question
from analyses.prompts.written import Span, Written, line_stops

MOST_REASON = 300  # characters of a Jinja error
NAMES = ("topic", "question", "options", "shots", "prelude")

# None of these can make text grow except by printing, or run longer than its loops.
_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const),
    *(nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.For, nodes.If),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
    *(nodes.Add, nodes.Sub, nodes.Concat, nodes.Call),
)
_FILTERS = ("capitalize", "default", "first", "last", "length", "lower", "title", "trim", "upper")
_LIGHT = 100  # characters of a value that count as one step
_OPEN = frozenset("([{<\"'\u201c\u2018«`")  # a label follows these without a space

_FIRST, _LAST = 0xF0000, 0xFFFFD  # a private use area
_MARK = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_COST = "_cost"  # the counter of steps; a template cannot use the name


class BadTemplate(Refused):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The template {path} cannot be used: {reason}. Its variables are {', '.join(NAMES)}; "
            f"an option has .label and .text, a shot has .question, .options, .label and .answer. "
            f"It must print the question, and each option's label and text, once and unchanged."
        )


class _Cost:
    """The steps that a template has taken, for one prompt and for all. A step is an iteration of a
    loop, an evaluated value, or each hundred characters of one.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self._path, self._bounds = path, bounds
        self._steps = self._work = 0

    def of_next_prompt(self) -> None:
        """Reset the count for a new prompt."""
        self._steps = 0

    def add(self, steps: int) -> None:
        """Count steps. Raises `Beyond`."""
        self._steps += steps
        self._work += steps
        if self._steps > self._bounds.steps:
            raise self._bounds.passed("steps", f"The template {self._path}")
        if self._work > self._bounds.work:
            raise self._bounds.passed("work", f"The template {self._path}")


@dataclass(frozen=True)
class _Option:
    """An option, as a template sees it."""

    label: str
    text: str


@dataclass(frozen=True)
class _Shot:
    """A solved question, as a template sees it."""

    question: str
    options: list[_Option]
    label: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class OwnWording:
    """A user's template: turns plans into prompts."""

    path: Path
    source: str
    template: Template
    prelude: bool
    bounds: Bounds
    cost: _Cost = field(compare=False)

    @property
    def content(self) -> list[str]:
        """Its content, to be hashed."""
        return [self.source, str(self.prelude)]

    def write(self, plan: Plan) -> Written:
        """Render a prompt. Raises `BadTemplate` if a piece is missing, repeated or changed.

        A label continues the text directly after a space, an opening bracket or quote, and
        otherwise after a space.
        """
        pieces = [plan.asked.item.question]
        for label, option in zip(plan.labels, plan.asked.options, strict=True):
            pieces += [label, option]
        text, spans = self._unmarked(self._print(plan, pieces), pieces)
        labels, options = tuple(spans[1::2]), tuple(spans[2::2])
        return Written(
            text=text,
            joint="" if text[-1:] in _OPEN or text[-1:].isspace() else " ",
            question_span=spans[0],
            label_spans=labels,
            option_spans=options,
            line_stops=line_stops(text, labels, options),
        )

    def _print(self, plan: Plan, pieces: Sequence[str]) -> str:
        shots = [_shot(each, plan.labels) for each in plan.shots]
        topic = plan.asked.item.topic
        marked = [_marked(number, piece) for number, piece in enumerate(pieces)]
        variables = {
            "topic": topic,
            "question": marked[0],
            "options": [_Option(*each) for each in zip(marked[1::2], marked[2::2], strict=True)],
            "shots": shots,
            "prelude": self.prelude,
            _COST: self.cost,
        }
        self.cost.of_next_prompt()
        if any(_MARK.search(each) for each in (topic, *pieces, *_texts(shots))):
            raise BadTemplate(self.path, "the data contain private-use characters, from U+F0000")
        text, length = [], 0
        try:
            for chunk in self.template.generate(variables):
                text.append(chunk)
                length += len(chunk)
                if length > self.bounds.prompt:
                    raise self.bounds.passed("prompt", f"A prompt of {self.path}")
        except Refused:
            raise
        except Exception as error:  # a template can raise anything
            raise BadTemplate(self.path, (str(error) or repr(error))[:MOST_REASON]) from None
        return "".join(text)

    def _unmarked(self, marked: str, pieces: Sequence[str]) -> tuple[str, list[Span]]:
        text, where, end = "", dict[int, int](), 0
        for mark in _MARK.finditer(marked):
            text += marked[end : mark.start()]
            end = mark.end()
            number = ord(mark[0]) - _FIRST
            if number in where:
                raise BadTemplate(self.path, f"it prints {_name(number // 2)} twice")
            where[number] = len(text)
        text += marked[end:]
        spans = []
        for number, piece in enumerate(pieces):
            span = Span(where.get(2 * number, -1), where.get(2 * number + 1, -1))
            if min(span) < 0:
                raise BadTemplate(self.path, f"it does not print {_name(number)}")
            if text[slice(*span)] != piece:
                raise BadTemplate(self.path, f"it changes {_name(number)}")
            spans.append(span)
        return text, spans


def own_wording(
    path: Path, *, prelude: bool, roots: Sequence[Path] = (), bounds: Bounds | None = None
) -> OwnWording:
    """The wording of a template file.

    Raises `BadTemplate` if it is malformed or uses something that is not allowed, and `Beyond` if
    it is too long.
    """
    bounds = bounds or Bounds()
    source = read_text(path, most=bounds.source, roots=roots)
    environment = _environment()
    try:
        tree = environment.parse(source)
        _check(path, tree)
        template = environment.from_string(_Counted(environment).visit(tree))
    except Refused:
        raise
    except (RecursionError, MemoryError):
        raise BadTemplate(path, "it is nested too deeply") from None
    except Exception as error:  # a syntax error, mostly
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        raise BadTemplate(path, f"{(str(error) or repr(error))[:MOST_REASON]}{where}") from None
    return OwnWording(
        path=path,
        source=source,
        template=template,
        prelude=prelude,
        bounds=bounds,
        cost=_Cost(path, bounds),
    )


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, finalize=_printable, trim_blocks=False, cache_size=0
    )
    environment.globals = {"range": _steps}
    counting = {"counted": _count, "weighed": _weigh}
    environment.filters = {name: environment.filters[name] for name in _FILTERS} | counting
    return environment


@pass_context
def _steps(context: Context, *bounds: int) -> range:
    """A range that counts its length in steps, since membership tests may take as long."""
    steps = range(*bounds)
    context[_COST].add(len(steps))
    return steps


def _check(path: Path, tree: nodes.Template) -> None:
    """Raises `BadTemplate` for anything but output, conditions and loops over the variables."""

    def refuse(node: nodes.Node, what: str) -> None:
        raise BadTemplate(path, f"{what} in line {node.lineno} is not allowed")

    for node in tree.find_all(nodes.Node):
        match node:
            case nodes.Getattr(attr=str(name)) | nodes.Getitem(arg=nodes.Const(value=str(name))):
                if name.startswith("_"):
                    refuse(node, f"the attribute {name!r}")
            case nodes.Name(name=name) if name.startswith("_"):
                refuse(node, f"the name {name!r}")
            case nodes.Filter(name=name) if name not in _FILTERS:
                refuse(node, f"the filter {name!r}")
            case nodes.Filter(name=name) if name != "default" and (node.args or node.kwargs):
                refuse(node, f"the filter {name!r} with a value in brackets")
            case nodes.For(recursive=True):
                refuse(node, "a recursive loop")
            case nodes.Call() if not (
                isinstance(node.node, nodes.Name) and node.node.name == "range"
            ):
                refuse(node, "a call of anything but range")
            case nodes.Const(value=str(text)) | nodes.TemplateData(data=text):
                if _MARK.search(text):
                    refuse(node, "a private-use character from U+F0000")
                if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
                    refuse(node, "a lone surrogate or a null character")
            case nodes.Keyword() | nodes.Pair():
                pass
        if not isinstance(node, (*_NODES, nodes.Keyword)):
            refuse(node, f"{type(node).__name__.lower()!r}")


class _Counted(NodeTransformer):
    """Wraps every loop and value of a template in a filter that counts steps."""

    def __init__(self, environment: SandboxedEnvironment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.For:
        super().generic_visit(node)
        node.iter = self._through("counted", cast(nodes.Expr, node.iter))
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        node.args = [self.visit(each) for each in node.args]  # the callee is not a value
        return node

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        super().generic_visit(node, *args, **kwargs)
        if not isinstance(node, nodes.Expr) or isinstance(node, nodes.Const):
            return node
        return self._through("weighed", node) if getattr(node, "ctx", "load") == "load" else node

    def _through(self, name: str, node: nodes.Expr) -> nodes.Filter:
        through = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
        through.set_environment(self._environment)
        return through


@pass_context
def _count(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    cost = context[_COST]
    for value in values:
        cost.add(1)
        yield value


@pass_context
def _weigh(context: Context, value: Any) -> Any:
    context[_COST].add(1 + len(value) // _LIGHT if isinstance(value, (str, list)) else 1)
    return value


def _printable(value: object) -> object:
    if isinstance(value, (str, int)) or hasattr(value, "_undefined_name"):
        return value
    raise TypeError(f"it prints a value that is not text: {type(value).__name__.strip('_')}")


def _shot(shot: Question, labels: Sequence[str]) -> _Shot:
    return _Shot(
        question=shot.item.question,
        options=[_Option(*each) for each in zip(labels, shot.options, strict=True)],
        label=labels[shot.correct],
        answer=shot.options[shot.correct],
    )


def _texts(shots: Sequence[_Shot]) -> Iterator[str]:
    for shot in shots:
        yield shot.question
        yield from (option.text for option in shot.options)


def _marked(number: int, piece: str) -> str:
    return chr(_FIRST + 2 * number) + piece + chr(_FIRST + 2 * number + 1)


def _name(number: int) -> str:
    """The piece with this number, in words."""
    if number == 0:
        return "the question"
    return f"the {('text', 'label')[number % 2]} of option {(number + 1) // 2}"

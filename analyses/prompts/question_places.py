"""Token positions of the parts of a multiple-choice question: labels, options, question."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analyses.errors import Refused
from analyses.prompts.key_sites import KeySite, NoKeySite
from analyses.prompts.places import NoSuchSite, Places, Tokens, span, without_overlap
from analyses.prompts.prompt import Prompt, QuestionPrompt
from analyses.prompts.token_index import TokenIndex


class LabelSharesItsToken(Refused):
    def __init__(self, prompt: Prompt, label: str, tokens: Sequence[str]) -> None:
        super().__init__(
            f"The label {label!r} of prompt {prompt.number} is not a single separate token in its "
            f"option's line: it is read as {list(tokens)}. Choose other labels or separators."
        )


@dataclass(frozen=True, kw_only=True)
class OptionPlaces:
    """The tokens of one option, as indices into `TokenizedPrompt.input_ids`.

    Attributes:
        label: the single token of the label.
        bracket: the token after it, which closes the label: `)`, `.` or `:`. If a template puts
            only space between label and option, it is `content_first`.
        content_first, content_last: the first and last token with a character of the option.
        option_end: the last token of the option's line: the newline; or `content_last`, if the
            newline is not a separate token or belongs to what follows.
    """

    label: int
    bracket: int
    content_first: int
    content_last: int
    option_end: int

    def at(self, site: KeySite) -> int | None:
        """The site's token; None if the option has none of its own."""
        match site:
            case KeySite.LABEL:
                return self.label
            case KeySite.CONTENT_END:
                return self.content_last
            case KeySite.BRACKET:
                return None if self.bracket == self.content_first else self.bracket
            case KeySite.OPTION_END:
                return None if self.option_end == self.content_last else self.option_end


@dataclass(frozen=True, kw_only=True)
class QuestionPlaces(Places):
    """The tokens of a question. A site has one position in every option."""

    question_first: int
    question_last: int
    options: tuple[OptionPlaces, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(site.value for site in KeySite)

    def at(self, site: str) -> tuple[int, ...]:
        """The position of the site's token in each option. Raises `NoSuchSite` or `NoKeySite`."""
        if site not in self.sites:
            raise NoSuchSite(site, self.number, self.sites)
        found = [option.at(KeySite(site)) for option in self.options]
        positions = tuple(position for position in found if position is not None)
        if len(positions) < len(found):
            raise NoKeySite(KeySite(site), self.number)
        return positions

    def key_groups(self, correct: Collection[int]) -> Mapping[str, Tokens]:
        """The groups of `parting`, which partition the tokens, then some subsets of them.

        The subsets are `correct_label`, `other_labels` (together), `label_0`, `label_1` … by the
        option's position, and `correct_content`. A group may be empty.
        """
        partition = self.parting()
        labels = [option.label for option in self.options]
        right = frozenset(labels[index] for index in correct)
        content = (
            span(self.options[index].content_first, self.options[index].content_last)
            for index in correct
        )
        return partition | {
            "correct_label": right,
            "other_labels": frozenset(labels) - right,
            **{f"label_{index}": frozenset({label}) for index, label in enumerate(labels)},
            "correct_content": partition["contents"] & frozenset().union(*content),
        }

    def parting(self) -> dict[str, Tokens]:
        """A partition of the tokens: each is in the first group that includes it.

        `labels`; `contents`, the options' texts; `brackets`, which close labels; `ends`, the last
        token of each option's line; `question`; `last`, from after the options to the final
        position; `rest`: a prelude, solved questions, special tokens, anything between. As for key
        sites, a token of an option's text is neither a bracket nor an end.
        """
        after = max(option.option_end for option in self.options) + 1
        return without_overlap(
            {
                "labels": {option.label for option in self.options},
                "contents": frozenset().union(
                    *(span(option.content_first, option.content_last) for option in self.options)
                ),
                "brackets": {option.bracket for option in self.options},
                "ends": {option.option_end for option in self.options},
                "question": span(self.question_first, self.question_last),
                "last": span(after, self.final),
                "rest": span(0, self.final),
            }
        )

    @property
    def filler(self) -> tuple[int, ...]:
        """The tokens of the question itself."""
        return tuple(range(self.question_first, self.question_last + 1))


def question_places(prompt: QuestionPrompt, index: TokenIndex, *, before: int) -> QuestionPlaces:
    """The places of a question after `before` special tokens.

    Raises `LabelSharesItsToken`, or `PlaceIsUnsure` if decoded tokens do not match the text.
    """
    first, last = index.ends(prompt.question_span)
    return QuestionPlaces(
        number=prompt.number,
        question_first=before + first,
        question_last=before + last,
        options=tuple(
            _option(prompt, index, number, before) for number in range(len(prompt.options))
        ),
        final=before + index.last,
    )


def _option(prompt: QuestionPrompt, index: TokenIndex, number: int, before: int) -> OptionPlaces:
    label = _label(prompt, index, number)
    first, last = index.checked_ends(prompt.option_spans[number])
    return OptionPlaces(
        label=before + label,
        bracket=before + index.after(label, prompt.label_spans[number].stop),
        content_first=before + first,
        content_last=before + last,
        option_end=before + index.line_end(last, prompt.line_stops[number]),
    )


def _label(prompt: QuestionPrompt, index: TokenIndex, number: int) -> int:
    """The token of a label, which may include preceding space but nothing else."""
    label = prompt.labels[number]
    first, last = index.ends(prompt.label_spans[number])
    alone = index.text(first).strip() == label and index.decoded(first, last).strip() == label
    if first != last or not alone:
        raise LabelSharesItsToken(prompt, label, index.names(first, last))
    return first

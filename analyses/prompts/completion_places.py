"""Token positions of the parts of a text to complete: its spans."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from analyses.prompts.places import FINAL, NoSuchSite, Places, Tokens, span, without_overlap
from analyses.prompts.prompt import CompletionPrompt
from analyses.prompts.token_index import TokenIndex

OWN_GROUPS = ("last", "rest", "correct_label", "other_labels")  # names that no span may have
START, END = "start", "end"  # names of positions: before all spans, and the final one


@dataclass(frozen=True, kw_only=True)
class CompletionPlaces(Places):
    """The tokens of a completion. A site is a span's last token, where all of it has been read.

    Attributes:
        spans: the first and last token of each span, by name.
        labels: for each candidate, the names of the spans that are its text.
    """

    spans: Mapping[str, tuple[int, int]]
    labels: tuple[frozenset[str], ...]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(self.spans)

    def at(self, site: str) -> tuple[int, ...]:
        """The last token of a span, or of the text. Raises `NoSuchSite`."""
        if site == FINAL:
            return (self.final,)
        if site not in self.spans:
            raise NoSuchSite(site, self.number, self.sites)
        _, last = self.spans[site]
        return (last,)

    @property
    def named_positions(self) -> Mapping[str, int]:
        """Every token's position, in order, by its place relative to spans.

        `start`, `start+1` … before the first span; `s1`, or `s1[0]`, `s1[1]` … in a span of one or
        several tokens; `s1+1`, `s1+2` … after it; `end`, the final position. Of spans that overlap
        the shortest names a token.
        """
        names = {self._name(position): position for position in range(self.final)}
        return {**names, END: self.final}

    def _name(self, position: int) -> str:
        inside = [
            (last - first, position - first, name)
            for name, (first, last) in self.spans.items()
            if first <= position <= last
        ]
        if inside:
            length, offset, name = min(inside)
            return f"{name}[{offset}]" if length else name
        before = [(last, name) for name, (_, last) in self.spans.items() if last < position]
        last, name = max(before, default=(0, START))
        return f"{name}+{position - last}" if position > last else name

    def key_groups(self, correct: Collection[int]) -> Mapping[str, Tokens]:
        """A group for each span; `last`, after all of them; `rest`; then two subsets.

        The first groups partition the tokens: a token is in the first that includes it. The
        subsets are `correct_label` and `other_labels`, the spans that are the text of a correct
        candidate, or of another one. A group may be empty.
        """
        tokens = {name: span(*ends) for name, ends in self.spans.items()}
        after = max((last for _, last in self.spans.values()), default=self.final) + 1
        partition = without_overlap(
            {**tokens, "last": span(after, self.final), "rest": span(0, self.final)}
        )
        right = self._of_labels(correct)
        return partition | {
            "correct_label": right,
            "other_labels": self._of_labels(range(len(self.labels))) - right,
        }

    def _of_labels(self, indices: Collection[int]) -> Tokens:
        """The tokens of the spans that are the text of these candidates."""
        names = frozenset().union(*(self.labels[index] for index in indices))
        return frozenset().union(*(span(*self.spans[name]) for name in names))

    @property
    def filler(self) -> tuple[int, ...]:
        """The tokens of no span, without the final one; all tokens if there are no others."""
        taken = frozenset().union(*(span(*ends) for ends in self.spans.values()))
        return tuple(sorted(span(0, self.final - 1) - taken)) or tuple(range(self.final + 1))


def completion_places(
    prompt: CompletionPrompt, index: TokenIndex, *, before: int
) -> CompletionPlaces:
    """The places of a completion after `before` special tokens.

    Raises `PlaceIsUnsure` if decoded tokens do not match the text.
    """
    texts = {name: prompt.text[slice(*where)].strip() for name, where in prompt.spans.items()}
    ends = {name: index.checked_ends(where) for name, where in prompt.spans.items()}
    return CompletionPlaces(
        number=prompt.number,
        spans={name: (before + first, before + last) for name, (first, last) in ends.items()},
        labels=tuple(
            frozenset(name for name, text in texts.items() if text == label)
            for label in prompt.labels
        ),
        final=before + index.last,
    )

"""Groups the tokens of a prompt by meaning, to measure what a head attends to."""

from collections.abc import Collection, Mapping

from analyses.prompts.places import Places

Tokens = frozenset[int]  # as indices into `TokenizedPrompt.input_ids`


def key_groups(places: Places, correct: int) -> dict[str, Tokens]:
    """The groups of `parting`, which partition the tokens, then some subsets of them.

    The subsets are `correct_label`, `other_labels` (together), `label_0`, `label_1` … by the
    option's position, and `correct_content`. A group may be empty.
    """
    partition = parting(places)
    labels = [option.label for option in places.options]
    right = places.options[correct]
    return partition | {
        "correct_label": frozenset({labels[correct]}),
        "other_labels": frozenset(labels) - {labels[correct]},
        **{f"label_{index}": frozenset({label}) for index, label in enumerate(labels)},
        "correct_content": partition["contents"] & _span(right.content_first, right.content_last),
    }


def parting(places: Places) -> dict[str, Tokens]:
    """A partition of the tokens: each is in the first group that includes it.

    `labels`; `contents`, the options' texts; `brackets`, which close labels; `ends`, the last token
    of each option's line; `question`; `last`, from after the options to the final position;
    `rest`: a prelude, solved questions, special tokens, anything between. As for key sites, a token
    of an option's text is neither a bracket nor an end.
    """
    options = places.options
    after = max(option.option_end for option in options) + 1
    return _without_overlap(
        {
            "labels": {option.label for option in options},
            "contents": frozenset().union(
                *(_span(option.content_first, option.content_last) for option in options)
            ),
            "brackets": {option.bracket for option in options},
            "ends": {option.option_end for option in options},
            "question": _span(places.question_first, places.question_last),
            "last": _span(after, places.final),
            "rest": _span(0, places.final),
        }
    )


def _without_overlap(claims: Mapping[str, Collection[int]]) -> dict[str, Tokens]:
    taken: Tokens = frozenset()
    groups = {}
    for name, claimed in claims.items():
        groups[name] = frozenset(claimed) - taken
        taken |= groups[name]
    return groups


def _span(first: int, last: int) -> Tokens:
    return frozenset(range(first, last + 1))

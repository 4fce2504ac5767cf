"""The tokens of a prompt in groups, by what they say, for those who ask where a head looks."""

from collections.abc import Collection, Mapping

from analyses.prompts.places import Places

Tokens = frozenset[int]  # as indices into `TokenizedPrompt.input_ids`


def key_groups(places: Places, correct: int) -> dict[str, Tokens]:
    """First those of `parting`, which share no token and leave none out; then some of their parts.

    These are `correct_label`, `other_labels` (together), each `label_0`, `label_1` … by the place
    of its option, and `correct_content`. A group may be empty.
    """
    found = parting(places)
    labels = [option.label for option in places.options]
    right = places.options[correct]
    return found | {
        "correct_label": frozenset({labels[correct]}),
        "other_labels": frozenset(labels) - {labels[correct]},
        **{f"label_{index}": frozenset({label}) for index, label in enumerate(labels)},
        "correct_content": found["contents"] & _span(right.content_first, right.content_last),
    }


def parting(places: Places) -> dict[str, Tokens]:
    """Each token in the first group that claims it.

    `labels`; `contents`, the options' texts; `brackets`, which close labels; `ends`, the last token
    of each option's line; `question`; `last`, from behind the options to the final position;
    `rest`: a prelude, solved questions, special tokens, what stands between. As key sites have it,
    what belongs to an option's text is neither bracket nor end.
    """
    options = places.options
    behind = max(option.option_end for option in options) + 1
    return _first_come(
        {
            "labels": {option.label for option in options},
            "contents": frozenset().union(
                *(_span(option.content_first, option.content_last) for option in options)
            ),
            "brackets": {option.bracket for option in options},
            "ends": {option.option_end for option in options},
            "question": _span(places.question_first, places.question_last),
            "last": _span(behind, places.final),
            "rest": _span(0, places.final),
        }
    )


def _first_come(claims: Mapping[str, Collection[int]]) -> dict[str, Tokens]:
    taken: Tokens = frozenset()
    groups = {}
    for name, claimed in claims.items():
        groups[name] = frozenset(claimed) - taken
        taken |= groups[name]
    return groups


def _span(first: int, last: int) -> Tokens:
    return frozenset(range(first, last + 1))

"""Facts as completions: the answer of a relation, such as the capital, after the subject."""

from collections.abc import Iterator

from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.items import Fact, load_relations
from analyses.prompts.slots import filled
from analyses.prompts.splits import test_units
from analyses.prompts.streams import Stream
from analyses.prompts.task_files import read


def items(relation: str, counterfactual: str) -> Iterator[CompletionItem]:
    """Every fact in every template; its counterfactual is another fact in the same template.

    The candidates are both answers. No fact of the train split has one of the test split as its
    counterfactual. Only facts whose subject and answer are one token each are
    asked, so that the two texts have equally many tokens.
    """
    described = read("facts")[relation]
    (table,) = (each for each in load_relations() if each.name == relation)
    by_subject = {fact.subject: fact for fact in table.facts}
    facts = [by_subject[subject] for subject in described["subjects"]]
    test = test_units(described["subjects"])
    for name, template in described["templates"].items():
        for fact in facts:
            other = Stream(relation, name, fact.subject).choice(
                [
                    each
                    for each in facts
                    if _differ(fact, each) and (fact.subject in test or each.subject not in test)
                ]
            )
            candidates = fact.answer, other.answer
            yield CompletionItem(
                id=f"{name}/{fact.subject}",
                topic=table.topic,
                unit=fact.subject,
                asks=f"{relation} of {fact.subject}",
                asked=_completion(template, fact, candidates),
                counterfactual=_completion(template, other, candidates),
                groups={"template": name},
            )


def _differ(fact: Fact, other: Fact) -> bool:
    """Whether the answer of each is wrong for the other."""
    return (
        fact.answer not in {other.answer, *other.also_true} and other.answer not in fact.also_true
    )


def _completion(template: str, fact: Fact, candidates: tuple[str, str]) -> Completion:
    text, spans = filled(template, {"subject": fact.subject})
    return Completion(
        text=text,
        joint=" ",
        candidates=candidates,
        correct=(candidates.index(fact.answer),),
        spans=spans,
    )

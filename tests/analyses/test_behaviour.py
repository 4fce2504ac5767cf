"""What a model answers, by hand on a model that always says the same."""

import numpy as np
import pytest
import torch

from analyses import knowledge
from analyses.methods.behaviour import BehaviourParams, behaviour
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import examples
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, ScoreKey


def quiet(done: int) -> None:
    pass


def key(metric: str, condition: str = "") -> ScoreKey:
    return ScoreKey(MODEL, Quantity(metric, varied=Varied.read(condition)))


@pytest.fixture
def ground(load, random_model, tokenizer):
    """A model of 300 tokens whose logits are always the same, and twelve prompts of colours."""

    def make(bias: dict[str, float]):
        model = random_model("gpt2", vocab_size=300, n_positions=512)
        model.lm_head.weight.data.zero_()
        model.transformer.ln_f.weight.data.zero_()
        model.transformer.ln_f.bias.data.fill_(1.0)
        for text, value in bias.items():
            (token,) = tokenizer.encode(text, add_special_tokens=False).ids
            model.lm_head.weight.data[token] = value / 32
        lm = load(model)
        spec = DistributionSpec.parse("colours", size=12)
        read = lm.tokenizer
        return lm, examples(read, distributions.build(spec).prompts)

    return make


def test_metrics_are_those_of_the_logits(ground) -> None:
    lm, made = ground({"A": 3.0, "B": 1.0})
    found = behaviour(lm, made, BehaviourParams(batch_size=5), quiet).scores
    (positions,) = np.array([each.correct for each in made]).T
    np.testing.assert_allclose(
        found[key("logit_diff")],
        np.select([positions == 0, positions == 1], [8 / 3, 0.0], -4 / 3),
        atol=1e-6,
    )
    np.testing.assert_array_equal(found[key("accuracy")], (positions == 0).astype(float))
    whole = np.exp([3.0, 1.0]).sum() + 298
    mass = (np.exp([3.0, 1.0]).sum() + 2) / whole
    np.testing.assert_allclose(found[key("label_mass")], mass, rtol=1e-5)
    np.testing.assert_allclose(
        found[key("loss")],
        np.log(whole) - np.select([positions == 0, positions == 1], [3.0, 1.0], 0.0),
        rtol=1e-5,
    )


def test_conditions_part_the_prompts_by_position_and_by_label(ground) -> None:
    lm, made = ground({"C": 2.0})
    found = behaviour(lm, made, BehaviourParams(), quiet).scores
    for metric in ("accuracy", "loss", "content_accuracy"):
        parts = [found[key(metric, f"position={place}")] for place in range(4)]
        assert [int((~np.isnan(part)).sum()) for part in parts] == [3, 3, 3, 3]
        np.testing.assert_array_equal(np.nansum(parts, axis=0), found[key(metric)])
        np.testing.assert_array_equal(parts[2], found[key(metric, "label=C")])


def test_texts_that_are_alike_share_what_a_model_knows(ground) -> None:
    """All tokens alike are equally likely, so every text is, wherever it stands."""
    lm, made = ground({})
    known = knowledge.content_accuracy(lm, made, batch_size=5)
    np.testing.assert_array_equal(known, 1 / 4)
    for each in made:
        pairs = [(each.content.context, option) for option in each.content.options]
        np.testing.assert_allclose(lm.mean_log_probs(pairs), -np.log(300), rtol=1e-5)


def test_prompts_that_are_not_known_are_skipped(ground) -> None:
    lm, made = ground({"A": 3.0, "e": 2.0})
    (e,) = lm.tokenizer.encode("e", add_special_tokens=False).ids
    shares = [[option.count(e) / len(option) for option in each.content.options] for each in made]
    known = np.array(
        [
            row[each.correct[0]] == max(row) and row.count(max(row)) == 1
            for row, each in zip(shares, made, strict=True)
        ]
    )
    assert 0 < known.sum() < 12
    params = BehaviourParams(prompts="known", batch_size=4)
    found = knowledge.measured(behaviour, lm, made, params, quiet)
    np.testing.assert_array_equal(np.isnan(found.scores[key("loss")]), ~known)
    logits = found.tensors["label_logits"].values
    assert logits.shape == (12, 4)
    np.testing.assert_array_equal(np.isnan(logits[:, 0]), ~known)
    found.check([each.number for each in made])
    assert found.left_out(key("loss")).tolist() == (~known).tolist()
    unknown = [each for each, is_known in zip(made, known, strict=True) if not is_known]
    nothing = knowledge.measured(behaviour, lm, unknown, params, quiet).scores
    assert list(nothing) == [knowledge.KNOWN]
    np.testing.assert_array_equal(nothing[knowledge.KNOWN], 0)
    np.testing.assert_array_equal(found.scores[knowledge.KNOWN], known)


def test_content_is_the_question_and_the_options_alone(ground) -> None:
    lm, made = ground({})
    tokenizer = lm.tokenizer
    for each in made:
        context = tokenizer.decode(list(each.content.context))
        assert context.endswith("?\nAnswer:")
        assert "(" not in context
        texts = [tokenizer.decode(list(option)) for option in each.content.options]
        assert len(set(texts)) == 4
        assert all(text.startswith(" ") and text.strip() in "".join(texts) for text in texts)


@pytest.mark.parametrize("parts", [1, 7])
def test_numbers_do_not_depend_on_how_a_run_is_cut(ground, parts: int) -> None:
    lm, made = ground({"A": 3.0, "B": 1.0})
    torch.nn.init.normal_(lm.model.lm_head.weight, generator=torch.Generator().manual_seed(0))
    params = BehaviourParams(batch_size=1)
    whole = behaviour(lm, made, params, quiet).scores[key("loss")]
    cuts = np.array_split(np.arange(len(made)), parts)
    pieces = [
        behaviour(lm, [made[n] for n in cut], params, quiet).scores[key("loss")] for cut in cuts
    ]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)

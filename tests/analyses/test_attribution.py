import subprocess
import sys

import numpy as np
import pytest
import torch

from analyses import registry
from analyses.methods.attribution import AttributionParams, attribution, smallest_sets
from analyses.prompts.tokenization import TokenizedPrompt
from analyses.quantities import Quantity
from analyses.results import MODEL, Component, Kind, ScoreKey

GOLDEN = {
    ("EMBED", "logit_attribution"): [5.746635, -5.663603],
    ("L00.H00", "logit_attribution"): [0.426402, 0.39427],
    ("L00.H01", "logit_attribution"): [-0.419425, -0.40635],
    ("L00.H02", "logit_attribution"): [0.393455, 0.421679],
    ("L00.H03", "logit_attribution"): [-0.375281, -0.426004],
    ("L00.MLP", "logit_attribution"): [0.205574, 0.153387],
    ("L01.H00", "logit_attribution"): [1.207241, -1.660566],
    ("L01.H01", "logit_attribution"): [-1.20181, 1.720243],
    ("L01.H02", "logit_attribution"): [-0.547456, 0.59337],
    ("L01.H03", "logit_attribution"): [0.469294, -0.564346],
    ("L01.MLP", "logit_attribution"): [-0.34194, -0.327349],
    ("MODEL", "accuracy"): [1.0, 0.0],
    ("MODEL", "label_loss"): [0.003909, 5.747655],
    ("MODEL", "label_mass"): [0.072595, 0.021299],
    ("MODEL", "logit_diff"): [5.542434, -5.74446],
    ("MODEL", "logit_diff_pre_cap"): [5.562689, -5.765268],
    ("MODEL", "loss"): [2.626773, 9.596751],
    ("MODEL", "prob_diff"): [0.0720282, -0.0211631],
}
LENGTHS = [9, 5, 7, 12, 4, 8, 6, 10, 5, 11]


@pytest.fixture
def measure():
    def run(lm, made, *, batch_size: int = 3):
        return attribution(lm, made, AttributionParams(batch_size=batch_size), lambda done: None)

    return run


def model_score(measured, metric: str) -> np.ndarray:
    return measured.scores[ScoreKey(MODEL, Quantity(metric))]


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama"])
def test_attributions_add_up_to_the_logit_difference(shared, prompts, measure, family: str) -> None:
    measured = measure(shared(family), prompts(LENGTHS))
    shares = [v for key, v in measured.scores.items() if key.quantity.metric == "logit_attribution"]
    pre_cap = model_score(measured, "logit_diff_pre_cap")
    np.testing.assert_allclose(np.sum(shares, axis=0), pre_cap, atol=1e-5)
    if family != "gemma2":  # which caps its logits
        np.testing.assert_allclose(model_score(measured, "logit_diff"), pre_cap, atol=1e-5)


def test_a_soft_cap_changes_the_models_own_difference_only(shared, prompts, measure) -> None:
    measured = measure(shared("gemma2", final_logit_softcapping=0.3), prompts(LENGTHS))
    post, pre = (model_score(measured, name) for name in ("logit_diff", "logit_diff_pre_cap"))
    assert np.abs(post).sum() < 0.9 * np.abs(pre).sum()


def test_the_tensor_says_which_component_is_where(shared, prompts, measure) -> None:
    lm, made = shared("gpt2"), prompts(LENGTHS)
    measured = measure(lm, made)
    tensor = measured.tensors["label_attribution"]
    assert tensor.axes == ("prompt", "component", "label")
    names = tensor.coordinates["component"]
    assert names[:2] == ("EMBED", "L00.H00")
    assert names[-1] == "UNEMBED"
    head = names.index("L01.H02")
    labels = tensor.values[:, head]
    (correct,) = np.array([prompt.correct for prompt in made]).T
    rows = np.arange(len(made))
    others = (labels.sum(1) - labels[rows, correct]) / 3
    key = ScoreKey(Component(kind=Kind.HEAD, layer=1, index=2), Quantity("logit_attribution"))
    np.testing.assert_allclose(measured.scores[key], labels[rows, correct] - others, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_one_part_or_three_give_bit_equal_numbers(shared, prompts, measure, family: str) -> None:
    lm, made = shared(family), prompts(LENGTHS)
    whole = measure(lm, made)
    parts = [measure(lm, made[start:stop]) for start, stop in ((0, 3), (3, 9), (9, 10))]
    for key, values in whole.scores.items():
        joined = np.concatenate([part.scores[key] for part in parts])
        np.testing.assert_array_equal(joined, values)
    for name, tensor in whole.tensors.items():
        joined = np.concatenate([part.tensors[name].values for part in parts])
        np.testing.assert_array_equal(joined, tensor.values)


def test_another_batch_size_moves_numbers_by_rounding_only(shared, prompts, measure) -> None:
    lm, made = shared("llama"), prompts(LENGTHS)
    one, other = measure(lm, made, batch_size=1), measure(lm, made, batch_size=8)
    for key, values in one.scores.items():
        np.testing.assert_allclose(values, other.scores[key], atol=1e-4)


def test_progress_is_told_and_may_stop_the_work(shared, prompts) -> None:
    lm, told = shared("llama"), []

    def stop_at_six(done: int) -> None:
        told.append(done)
        if done >= 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        attribution(lm, prompts(LENGTHS), AttributionParams(batch_size=3), stop_at_six)
    assert told == [3, 6]


def test_every_score_is_one_finite_float_per_prompt(shared, prompts, measure) -> None:
    measured = measure(shared("llama"), prompts(LENGTHS))
    assert {values.dtype for values in measured.scores.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(v).all() and v.shape == (10,) for v in measured.scores.values())
    metrics = {key.quantity.metric for key in measured.scores if key.component == MODEL}
    expected = {"logit_diff", "logit_diff_pre_cap", "accuracy", "label_loss", "label_mass", "loss"}
    expected |= {"prob_diff"}
    assert metrics == expected


def heads(*values: float) -> dict[ScoreKey, float]:
    return {
        ScoreKey(Component(kind=Kind.HEAD, layer=0, index=i), Quantity("logit_attribution")): v
        for i, v in enumerate(values)
    }


def test_the_smallest_sets_on_paper() -> None:
    means = heads(5.0, 3.0, -4.0, 1.0, 1.0)
    embed = ScoreKey(Component(kind=Kind.EMBED), Quantity("logit_attribution"))
    found = smallest_sets(means | {embed: 100.0}, AttributionParams())
    assert {key.x: value for key, value in found.items()} == {0.5: 1.0, 0.8: 2.0, 0.9: 3.0}
    assert {(key.component, key.quantity.metric) for key in found} == {(MODEL, "smallest_set")}


def test_without_a_positive_attribution_there_is_no_smallest_set() -> None:
    assert smallest_sets(heads(-1.0, 0.0), AttributionParams()) == {}


def test_it_is_found_without_torch() -> None:
    code = (
        "import sys; from analyses import registry; found = registry.find('attribution');"
        "found.checked({'batch_size': 4}); print(found.summary); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    summary, torch_is_loaded = said.stdout.splitlines()
    assert summary.startswith("Each component's own share")
    assert torch_is_loaded == "False"


def test_the_registry_resolves_to_the_function() -> None:
    assert registry.find("attribution").measure() is attribution


def test_the_numbers_of_this_version_are_these(random_model, load, prompts, measure) -> None:
    """When this fails and the change is meant, raise the version of the analysis."""
    model = random_model("gemma2")
    for number, parameter in enumerate(model.parameters()):
        places = torch.arange(parameter.numel(), dtype=torch.float64)
        parameter.data = (0.3 * torch.sin(places * (number + 1.7))).reshape(parameter.shape).float()
    made = [
        TokenizedPrompt(
            number=0, item="a", input_ids=(3, 14, 15, 9, 2), label_ids=(5, 6), correct=(0,)
        ),
        TokenizedPrompt(number=1, item="b", input_ids=(27, 18, 28), label_ids=(5, 6), correct=(1,)),
    ]
    measured = measure(load(model), made)
    assert registry.find("attribution").version == 1
    found = {
        (key.component.label, key.quantity.metric): pytest.approx(values.tolist(), abs=1e-4)
        for key, values in measured.scores.items()
    }
    assert found == GOLDEN

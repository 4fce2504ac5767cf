"""A budget is kept: measured in a process of its own, whose highest memory the kernel knows."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analyses.engine import memory
from analyses.engine.batches import pieces
from analyses.engine.lengths import Lengths
from analyses.engine.recording import Keep
from analyses.prompts.examples import Content, Example
from analyses.prompts.question_places import QuestionPlaces
from analyses.prompts.sources import SourceKind

BUDGET = 300 * 2**20
MEASURED = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from analyses.engine import memory
from analyses.engine.interventions import Intervention, Patch, Site, SOURCE
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

def high_water(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

torch.set_num_threads(1)
lm = LanguageModel.load(Path(sys.argv[1]))
lengths = (512, 400, 512, 300, 512, 450)
prompts = [
    TokenizedPrompt(
        number=n, item="", input_ids=tuple(range(3, 3 + length)), label_ids=(5, 6), correct=(0,)
    )
    for n, length in enumerate(lengths)
]
some = [
    Intervention((Patch(site=Site.Z, layer=layer, head=head, value=SOURCE),))
    for layer in (28, 29) for head in range(9)
] * 90

def measured(lm, interventions, whole_vocabulary=True):
    labels, chunks = [], []
    for together in lm.micro_batches(prompts, len(prompts), keep=Keep.PREFIX):
        batch = lm.batch(together)
        recorded = lm.record(batch, keep=Keep.PREFIX)
        found = lm.replay(
            recorded, interventions, batch.label_ids, source=recorded,
            whole_vocabulary=whole_vocabulary,
            progress=chunks.append,
        )
        labels.append(found.labels)
    return torch.cat(labels, dim=1), len(labels), len(chunks)

measured(replace(lm, memory_budget=1), some[:1])
memory.give_back(lm.device)  # what loading freed is not there to be used again
Path("/proc/self/clear_refs").write_text("5")
before = high_water("VmRSS")
little, batches, chunks = measured(replace(lm, memory_budget=int(sys.argv[2])), some)
peak = high_water("VmHWM") - before
plenty, one_batch, _ = measured(lm, some, whole_vocabulary=False)
gap = float((plenty - little).abs().max())
print(json.dumps(
    {"peak": peak, "batches": batches, "chunks": chunks, "without": one_batch, "gap": gap}
))
"""


@pytest.mark.slow
def test_a_budget_of_300_mb_is_kept_within_a_fifth_and_only_costs_time(smollm2: Path) -> None:
    """Six prompts that would otherwise be recorded together."""
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, str(smollm2), str(BUDGET)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(said.stdout.splitlines()[-1])
    assert found["peak"] <= 1.2 * BUDGET
    assert (found["without"], found["batches"]) > (1, 1)
    assert found["chunks"] > found["batches"]
    assert found["gap"] <= 1e-4


def test_prompts_are_recorded_together_as_far_as_the_budget_allows(prompts) -> None:
    made = prompts([5, 3, 9, 2, 2, 30, 1])
    cut = [
        [len(p.input_ids) for p in piece]
        for piece in pieces(made, lambda longest: 18, lengths=Lengths())
    ]
    assert cut == [[5, 3], [9, 2], [2], [30], [1]]
    assert [len(piece) for piece in pieces(made, lambda longest: 10**6, lengths=Lengths())] == [7]
    assert list(pieces([], lambda longest: 10, lengths=Lengths())) == []


def test_what_is_recorded_beside_prompts_is_cut_at_a_limit_of_lengths_too(prompts) -> None:
    """No companion of 9 tokens beside one of 8 where angles change beyond 8."""
    beside = prompts([8, 9, 9, 8])
    made = [
        Example(
            **vars(own),
            labels=(),
            groups={},
            places=QuestionPlaces(
                number=own.number, question_first=0, question_last=0, options=(), final=5
            ),
            content=Content(context=(), options=()),
            companions={SourceKind.RESAMPLE: other},
        )
        for own, other in zip(prompts([6, 6, 6, 6]), beside, strict=True)
    ]
    cut = pieces(made, lambda longest: 10**6, lengths=Lengths(limit=8))
    assert [[each.number for each in piece] for piece in cut] == [[0], [1, 2], [3]]


@pytest.mark.parametrize("keep", Keep)
def test_more_memory_never_records_less_and_a_prompt_is_never_cut(load, prompts, keep) -> None:
    lm = load("llama")
    tokens = [
        memory.recordable(lm.anatomy, keep, longest=64, budget=budget)
        for budget in (0, 10**5, 10**6, 10**9)
    ]
    assert tokens == sorted(tokens)
    assert tokens[0] == 1
    assert tokens[-1] > 64


def test_batches_do_not_depend_on_how_a_run_is_cut(load, prompts) -> None:
    """Parts of 8 prompts, and one of all, under a budget that cuts batches of 4."""
    lm = replace(load("llama"), memory_budget=40_000)
    made = prompts([5, 3, 9, 2, 2, 30, 1, 8] * 3)
    whole = list(lm.micro_batches(made, 4))
    parts = [
        piece for first in (0, 8, 16) for piece in lm.micro_batches(made[first : first + 8], 4)
    ]
    assert parts == whole
    assert any(len(piece) < 4 for piece in whole)

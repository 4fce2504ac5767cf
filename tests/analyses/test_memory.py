"""A budget is kept: measured in a process of its own, whose highest memory the kernel knows."""

import json
import subprocess
import sys
from pathlib import Path

BUDGET = 300 * 2**20
MEASURED = """
import json, sys
from pathlib import Path
import torch
from analyses.engine.interventions import Intervention, Patch, Site, ZERO
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

torch.set_num_threads(1)
lm = LanguageModel.load(Path(sys.argv[1]))
prompts = [
    TokenizedPrompt(
        number=n, item="", input_ids=tuple(range(3, 3 + length)), label_ids=(5, 6), correct=0
    )
    for n, length in enumerate((512, 400, 512, 512))
]
places = [(layer, head) for layer in range(25, 30) for head in range(9)]
some = [
    Intervention((Patch(site=Site.Z, layer=layer, head=head, value=ZERO),))
    for layer, head in places * 20
]
batch = lm.batch(prompts)
lm.replay(lm.record(batch, keep=Keep.PREFIX), some[:1], batch.label_ids, whole_vocabulary=True)
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
chunks = []
lm.replay(
    lm.record(batch, keep=Keep.PREFIX), some, batch.label_ids, budget=int(sys.argv[2]),
    whole_vocabulary=True, progress=chunks.append,
)
print(json.dumps({"peak": memory("VmHWM") - before, "chunks": len(chunks)}))
"""


def peak(folder: Path, budget: int) -> dict[str, int]:
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, str(folder), str(budget)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(found.stdout.splitlines()[-1]))


def test_a_budget_of_300_mb_is_kept_within_a_fifth(smollm2: Path) -> None:
    found = peak(smollm2, BUDGET)
    assert found["peak"] <= 1.2 * BUDGET
    assert found["chunks"] > 1

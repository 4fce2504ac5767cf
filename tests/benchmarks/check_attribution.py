"""Whether attribution says of SmolLM2 what TransformerLens says: to 1e-4, or exit code 1.

    python tests/benchmarks/check_attribution.py FOLDER PYTHON

FOLDER holds SmolLM2-135M as safetensors with its tokenizer.json; PYTHON is the interpreter of an
environment with TransformerLens 4.3.
"""

import json
import subprocess
import sys
from pathlib import Path

from analyses.language_model import LanguageModel
from analyses.methods.attribution import AttributionParams, attribution
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.examples import examples
from analyses.quantities import Quantity
from analyses.results import Component, Kind, ScoreKey

PROMPTS = 8
TOLERANCE = 1e-4  # in logits


def main() -> int:
    folder, python = sys.argv[1:]
    lm = LanguageModel.load(folder)
    built = build(DistributionSpec(data="colours", size=PROMPTS))
    prompts = examples(lm.tokenizer, built.prompts)
    ours = attribution(lm, prompts, AttributionParams(), lambda done: None).scores
    asked = [
        {"ids": each.input_ids, "labels": each.label_ids, "correct": each.correct[0]}
        for each in prompts
    ]
    script = Path(__file__).with_name("transformerlens_attribution.py")
    said = subprocess.run(
        [python, script, folder],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    theirs = json.loads(said.stdout.splitlines()[-1])
    gaps, sizes = [], []
    for layer in range(lm.shape.n_layers):
        for index in range(lm.shape.n_heads):
            head = Component(kind=Kind.HEAD, layer=layer, index=index)
            values = ours[ScoreKey(head, Quantity("logit_attribution"))]
            other = [each[f"L{layer}H{index}"] for each in theirs]
            gaps.append(max(abs(one - two) for one, two in zip(values, other, strict=True)))
            sizes.append(max(abs(values)))
    print(
        f"{len(gaps)} heads, {PROMPTS} prompts: largest difference {max(gaps):.1e}, largest "
        f"attribution {max(sizes):.2f}"
    )
    return int(max(gaps) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())

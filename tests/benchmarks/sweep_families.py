"""Every causal-LM family of transformers, tiny: taken and right, or refused in words.

    python tests/benchmarks/sweep_families.py [--only 'llama;gpt2'] [--write docs/families.md]

A family that is taken must give, under patches in low and upper layers, the logits of a forward
pass with plain hooks. Exit code 1 where one does not, or where something else than a sentence ends
it. Each family has a process of its own, and a minute.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import transformers
from hooked_pass import Change, HookedModel, OtherResidual, ZeroHead
from tiny_families import D_VOCAB, NotBuilt, families, save
from transformers.utils import logging

from analyses.engine.interventions import SOURCE, ZERO, Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.errors import Refused
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

SECONDS = 60.0
TOLERANCE = 1e-3  # of the largest logit
EQUAL, REFUSED, NOT_BUILT = "equal", "refused", "not built"
WRONG, TRACEBACK = "WRONG", "TRACEBACK"
LENGTH = 9
IDS = tuple((7 * step + 3) % D_VOCAB for step in range(LENGTH))
OTHERS = tuple((11 * step + 5) % D_VOCAB for step in range(LENGTH))
LAST, MIDDLE = LENGTH - 1, 4


@dataclass(frozen=True)
class Outcome:
    family: str
    status: str
    said: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="Families, with semicolons between them.")
    parser.add_argument("--write", type=Path, help="A Markdown file for the table.")
    parser.add_argument("--json", type=Path, help="A file for the outcomes.")
    chosen = parser.parse_args()
    quiet: Any = logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    torch.set_num_threads(1)
    outcomes = []
    for family in chosen.only.split(";") if chosen.only else families():
        outcomes.append(_in_a_process(family))
        print(f"{family:31} {outcomes[-1].status:10} {outcomes[-1].said}", flush=True)
    print(dict(Counter(each.status for each in outcomes)))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in outcomes], indent=1))
    if chosen.write:
        chosen.write.write_text(_markdown(outcomes))
    return int(any(each.status in (WRONG, TRACEBACK) for each in outcomes))


def _in_a_process(family: str) -> Outcome:
    """A process that crashes or hangs costs its own family only."""
    context = multiprocessing.get_context("fork")  # torch is loaded once
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(family, sender))
    process.start()
    sender.close()
    try:
        if receiver.poll(SECONDS):
            return Outcome(family, *receiver.recv())
        return Outcome(family, TRACEBACK, f"nothing came within {SECONDS:.0f} s")
    except EOFError:
        process.join()
        return Outcome(family, TRACEBACK, f"its process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _tell(family: str, sender: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sender.send(_judge(family))


def _judge(family: str) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            save(family, Path(folder))
            lm = LanguageModel.load(folder)
            return compared(lm, HookedModel(Path(folder), IDS))
        except NotBuilt as error:
            return NOT_BUILT, _one_line(error)
        except Refused as error:
            return REFUSED, _one_line(error).replace(folder, "FOLDER")
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return TRACEBACK, f"{type(error).__name__}: {_one_line(error)} ({where})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _cases(n_layers: int, n_heads: int) -> Iterator[tuple[list[Patch], list[Change]]]:
    """Patches as the engine takes them, and as hooks make them."""
    low, upper, head = 0, n_layers - 1, n_heads - 1
    for layer in range(n_layers):
        yield [_zero(layer, 1)], [ZeroHead(layer, 1, LAST)]
    yield (
        [_zero(low, 0), _zero(upper, head)],
        [ZeroHead(low, 0, LAST), ZeroHead(upper, head, LAST)],
    )
    yield [_zero(low, head, MIDDLE)], [ZeroHead(low, head, MIDDLE)]
    for layer in range(n_layers):
        resid = Patch(site=Site.RESID_PRE, layer=layer)
        yield [resid], [OtherResidual(layer, LAST, OTHERS)]
    earlier = Patch(site=Site.RESID_PRE, layer=1, at=((MIDDLE,),))
    yield [earlier], [OtherResidual(1, MIDDLE, OTHERS)]


def _zero(layer: int, head: int, position: int | None = None) -> Patch:
    at = None if position is None else ((position,),)
    return Patch(site=Site.Z, layer=layer, head=head, value=ZERO, at=at)


def compared(lm: LanguageModel, hooked: HookedModel) -> tuple[str, str]:
    """The largest gap of all patches, made in one order and in the other, and of none."""
    cases = list(_cases(lm.shape.n_layers, hooked.n_heads))
    expected = torch.stack([hooked.logits(IDS, changes) for _, changes in cases])
    plain = hooked.logits(IDS)
    interventions = [Intervention(tuple(patches)) for patches, _ in cases]
    size = float(plain.abs().max())
    effect = float((expected - plain).abs().amax(-1).min())
    gaps = []
    for order in (range(len(cases)), range(len(cases))[::-1]):
        found = _replayed(lm, [interventions[n] for n in order], OTHERS)
        gaps.append(float((found - expected[list(order)]).abs().max()))
    idle = [
        Intervention((Patch(site=Site.RESID_PRE, layer=layer, value=SOURCE),))
        for layer in range(lm.shape.n_layers)
    ]
    gaps.append(float((_replayed(lm, idle, IDS) - plain).abs().max()))
    said = f"largest gap {max(gaps) / size:.0e} of a logit, smallest effect {effect / size:.0e}"
    right = max(gaps) <= TOLERANCE * size  # NaN is not
    return (EQUAL if right else WRONG), said


def _replayed(
    lm: LanguageModel, interventions: Sequence[Intervention], source: Sequence[int]
) -> torch.Tensor:
    """Logits of all tokens at the last position, for each intervention."""
    batch = lm.batch([_prompt(IDS)])
    recorded = lm.record(batch, keep=Keep.POSITIONS)
    others = lm.record(lm.batch([_prompt(source)]), keep=Keep.POSITIONS)
    return lm.replay(recorded, interventions, batch.label_ids, source=others).labels[:, 0]


def _prompt(ids: Sequence[int]) -> TokenizedPrompt:
    labels = tuple(range(D_VOCAB))
    return TokenizedPrompt(number=0, item="", input_ids=tuple(ids), label_ids=labels, correct=(0,))


def _markdown(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(each.status for each in outcomes)
    lines = [
        "# Families of language models",
        "",
        f"Every causal language model of transformers {transformers.__version__}, tested as a "
        f"tiny random model with {LENGTH} tokens. *Equal*: the model is supported; under patches "
        "in every layer the engine's logits equal those of a forward pass with plain hooks. "
        "*Refused*: the model is not supported, with the error. *Not built*: no model could be "
        "built with the sizes tried, so it was not tested.",
        "",
        ", ".join(f"{count} {status}" for status, count in counts.most_common()) + ".",
        "",
        "Generated by `python tests/benchmarks/sweep_families.py --write docs/families.md`.",
        "",
        "| family | | |",
        "|---|---|---|",
    ]
    order = [EQUAL, REFUSED, NOT_BUILT, WRONG, TRACEBACK]
    for each in sorted(outcomes, key=lambda one: (order.index(one.status), one.family)):
        said = each.said.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| `{each.family}` | {each.status} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""Queues the runs behind docs/findings-ioi.md, and writes the page from their scores.

python docs/findings_ioi.py            # queue what is missing, wait, write the numbers and the page
python docs/findings_ioi.py --check    # whether the page is what the stored numbers give

The model must have been added: make demo MODEL=smollm2.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent
NUMBERS = FOLDER / "findings-ioi.json"
TEMPLATE = FOLDER / "findings-ioi.md.jinja"
PAGE = FOLDER / "findings-ioi.md"

MODEL = "smollm2"
TOP = 5
SHARED = 10  # heads of each task that are compared
MOST_MOVERS = 6  # whose reads and dimensions are measured
RECEIVERS = 2  # the strongest by direct effect, whose reads are measured too

IOI = {"name": "ioi/swap", "split": "train"}
KEPT_OUT = {"name": "ioi/swap", "split": "test"}
YEARS = {"name": "greater_than_digits", "split": "all"}
FIRST: Mapping[str, dict[str, Any]] = {
    "behaviour": {"analysis": "behaviour", "recipe": IOI | {"size": 256}},
    "behaviour_kept_out": {"analysis": "behaviour", "recipe": KEPT_OUT | {"size": 128}},
    "behaviour_years": {"analysis": "behaviour", "recipe": YEARS | {"size": 256}},
    "attribution": {"analysis": "attribution", "recipe": IOI | {"size": 64}},
    "attribution_kept_out": {"analysis": "attribution", "recipe": KEPT_OUT | {"size": 64}},
    "attribution_years": {"analysis": "attribution", "recipe": YEARS | {"size": 64}},
    "attention": {"analysis": "attention", "recipe": IOI | {"size": 64}},
    "patching": {"analysis": "patching", "recipe": IOI | {"size": 64}},
    "patching_kept_out": {"analysis": "patching", "recipe": KEPT_OUT | {"size": 64}},
    "patching_years": {"analysis": "patching", "recipe": YEARS | {"size": 64}},
    "categorise": {"analysis": "categorise", "recipe": IOI | {"size": 64}},
    "cumulative": {"analysis": "cumulative", "recipe": IOI | {"size": 64}},
    "cumulative_years": {"analysis": "cumulative", "recipe": YEARS | {"size": 64}},
}


def then(movers: list[str], receivers: list[str]) -> Mapping[str, dict[str, Any]]:
    """The runs that depend on which heads are movers, and which ones are strongest."""
    return {
        "paths": {
            "analysis": "paths",
            "recipe": IOI | {"size": 32},
            "parameters": {"receivers": receivers, "reads": ["q"]},
        },
        "subspace": {
            "analysis": "subspace",
            "recipe": KEPT_OUT | {"size": 32},
            "parameters": {
                "heads": movers,
                "ranks": [0, 1, 2, 3, 4, 8, 16, 32],
                "placebo_ranks": [1, 2],
            },
        },
    }


class Runs:
    """Queues runs in one study, and keeps their scores as data frames."""

    def __init__(self) -> None:
        import headbook

        self._headbook, self._client = headbook, headbook.connect()
        self.ids: dict[str, str] = {}

    def scores(self, wanted: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Each run's scores, once all have succeeded."""
        requests = [
            self._headbook.RunRequest(model=MODEL, study="findings-ioi", **each)
            for each in wanted.values()
        ]
        runs = self._client.wait_all(self._client.submit(requests))
        for name, run in zip(wanted, runs, strict=True):
            if run.state != "succeeded":
                sys.exit(f"{name} ({run.id}) is {run.state}: {run.reason}")
            self.ids[name] = str(run.id)
            yield name, self._client.scores(run)

    def writes(self, frame: Any) -> dict[str, list[float]]:
        """By head, what it adds to the logit of the answer and of the other name, on average."""
        values = self._client.tensor(self.ids["attribution"], "label_attribution").mean(0)
        heads_ = frame[frame["kind"] == "head"]
        of_layer = int(heads_["index"].max()) + 2  # its heads, then its MLP
        layers = int(heads_["layer"].max()) + 1
        assert values.shape == (1 + layers * of_layer, 2)  # after the embedding
        return {
            f"{layer}.{head}": [_number(each) for each in values[1 + layer * of_layer + head]]
            for layer in range(layers)
            for head in range(of_layer - 1)
        }


def select(frame: Any, **wanted: Any) -> Any:
    """The rows with these values; `varied` is compared as a mapping."""
    varied = wanted.pop("varied", None)
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame if varied is None else frame[frame["varied"].map(lambda own: own == varied)]


def estimate(frame: Any, **wanted: Any) -> dict[str, float] | None:
    """The mean and interval of the one score with these values; None if there is none."""
    rows = select(frame, **wanted)
    if not len(rows):
        return None
    (row,) = rows.to_dict("records")
    return {name: _number(row[name]) for name in ("mean", "ci_low", "ci_high")}


def heads(frame: Any, **wanted: Any) -> dict[str, dict[str, float]]:
    """The estimates of every head, by name."""
    rows = select(frame, kind="head", **wanted).to_dict("records")
    return {
        f"{int(row['layer'])}.{int(row['index'])}": {
            name: _number(row[name]) for name in ("mean", "ci_low", "ci_high")
        }
        for row in rows
    }


def _number(value: float) -> float:
    return float(f"{value:.6g}")


def strongest(found: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
    """The heads with the largest means, by their size."""
    return sorted(found, key=lambda head: -abs(found[head]["mean"]))[:count]


def rank_correlation(
    one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]
) -> float:
    """Spearman's correlation of the sizes of the heads' means."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            name: {head: abs(each["mean"]) for head, each in of.items()}
            for name, of in (("one", one), ("other", other))
        }
    )
    ranks = frame.rank()
    return _number(float(ranks["one"].corr(ranks["other"])))


EFFECT = {"site": "z", "varied": {"of": "logit_diff"}}


def facts(runs: Runs) -> dict[str, Any]:
    """Every number of the page."""
    found = dict(runs.scores(FIRST))
    total = {
        name: heads(found[name], metric="total_effect", **EFFECT)
        for name in ("patching", "patching_kept_out", "patching_years")
    }
    direct = heads(found["patching"], metric="direct_effect", **EFFECT)
    category = {
        name: list(heads(_ones(found["categorise"]), metric="category", varied={"of": name}))
        for name in ("mover", "suppressor", "gatherer", "amplifier")
    }
    movers = strongest({head: direct[head] for head in category["mover"]}, MOST_MOVERS)
    if not movers:
        sys.exit("No head is a mover, so there is nothing whose reads and dimensions to measure.")
    writes = runs.writes(found["attribution"])
    receivers = list(dict.fromkeys([*movers, *strongest(direct, RECEIVERS)]))
    found |= dict(runs.scores(then(movers, receivers)))
    return {
        "model": MODEL,
        "behaviour": {
            name: _answers(found[name])
            for name in ("behaviour", "behaviour_kept_out", "behaviour_years")
        },
        "orders": {
            order: estimate(
                found["behaviour"], metric="logit_diff", kind="model", varied={"order": order}
            )
            for order in ("ABBA", "BABA")
        },
        "direct": {head: direct[head] for head in strongest(direct, TOP)},
        "total": {head: total["patching"][head] for head in strongest(total["patching"], TOP)},
        "categories": category,
        "looks": {
            head: {**_look(found, head), "writes": writes[head]}
            for head in dict.fromkeys([*strongest(direct, TOP), *movers, *category["suppressor"]])
        },
        "enough": {name: _enough(found[name]) for name in ("cumulative", "cumulative_years")},
        "paths": {receiver: _senders(found["paths"], receiver) for receiver in receivers},
        "ranks": {site: _rank(found["subspace"], site) for site in ("q", "k", "qk", "v")},
        "shared": _shared(total["patching"], total["patching_years"]),
        "kept_out": _shared(total["patching"], total["patching_kept_out"]),
        "kept_out_movers": {
            head: heads(found["attribution_kept_out"], metric="logit_attribution")[head]
            for head in movers
        },
        "runs": runs.ids,
    }


def _ones(frame: Any) -> Any:
    return frame[frame["mean"] == 1]


def _answers(frame: Any) -> dict[str, Any]:
    metrics = ("accuracy", "logit_diff", "prob_diff")
    answers = {
        metric: estimate(frame, metric=metric, kind="model", varied={}) for metric in metrics
    }
    (n,) = select(frame, metric="accuracy", kind="model", varied={})["n"]
    return {**answers, "n": int(n)}


def _look(found: Mapping[str, Any], head: str) -> dict[str, Any]:
    """Where a head looks, what it writes, and its category."""
    layer, index = map(int, head.split("."))
    of = {"kind": "head", "layer": layer, "index": index}
    weights = {
        group: estimate(found["attention"], metric="weight", varied={"keys": group}, **of)
        for group in ("io", "s1", "s2", "last", "rest")
    }
    effects = {
        metric: estimate(found["patching"], metric=metric, **EFFECT, **of)
        for metric in ("total_effect", "direct_effect")
    }
    share = estimate(found["attribution"], metric="logit_attribution", **of)
    category = select(_ones(found["categorise"]), metric="category", **of)
    (name,) = [varied["of"] for varied in category["varied"]] or ["minor"]
    return {"category": name, "weights": weights, **effects, "logit_attribution": share}


def _enough(frame: Any) -> dict[str, Any]:
    sets = {f"{share:g}": estimate(frame, metric="smallest_set", x=share) for share in (0.8, 0.9)}
    return {"sets": sets, "area": estimate(frame, metric="area")}


def _senders(frame: Any, receiver: str) -> dict[str, Any]:
    """The strongest heads that act through a head's queries."""
    to = f"{receiver}.q"
    found = heads(frame, metric="path_effect", varied={"of": "logit_diff", "to": to})
    return {head: found[head] for head in strongest(found, TOP)}


def _rank(frame: Any, site: str) -> dict[str, Any]:
    of_set = {"kind": "set", "site": site, "varied": {}}
    return {
        "needed": estimate(frame, metric="rank_needed", **of_set),
        "kept": {
            str(rank): estimate(frame, metric="kept", x=rank, **of_set) for rank in (1, 2, 4, 8)
        },
    }


def _shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = sorted(set(strongest(one, SHARED)) & set(strongest(other, SHARED)))
    return {"rank_correlation": rank_correlation(one, other), "top": both}


def page(numbers: Mapping[str, Any]) -> str:
    """The page that the numbers give."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"est": _written, "count": _count, "zip": zip}
    environment.filters["head"] = lambda name: "L{:02d}.H{:02d}".format(*map(int, name.split(".")))
    return environment.get_template(TEMPLATE.name).render(numbers)


def _written(found: Mapping[str, float] | None, digits: int = 2) -> str:
    if found is None:
        return "–"  # noqa: RUF001
    mean, low, high = (
        f"{found[name]:.{digits}f}".replace("-", "\N{MINUS SIGN}")
        for name in ("mean", "ci_low", "ci_high")
    )
    return f"{mean} [{low}, {high}]"


def _count(found: Mapping[str, float] | None) -> str:
    """A whole number with its interval; None if it was never reached."""
    if found is None:
        return "no number"
    mean, low, high = (f"{found[name]:.0f}" for name in ("mean", "ci_low", "ci_high"))
    return f"{mean} [{low}, {high}]"


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the page, write nothing")
    if parser.parse_args().check:
        if PAGE.read_text() != page(json.loads(NUMBERS.read_text())):
            sys.exit(f"{PAGE.name} is not what {NUMBERS.name} gives: run {Path(__file__).name}")
        return
    numbers = facts(Runs())
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")
    PAGE.write_text(page(numbers))


if __name__ == "__main__":
    main()

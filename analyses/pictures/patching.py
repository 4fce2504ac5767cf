"""Effects of patching: direct against total, and effects of what heads read."""

from matplotlib.figure import Figure

from analyses.pictures.findings import Findings
from analyses.pictures.heads import head_maps
from analyses.pictures.scatter import Point, scatter
from analyses.results import OUTPUT, Kind

ON = {"of": "logit_diff"}
WRITES = {
    "attention heads": (Kind.HEAD, OUTPUT),
    "MLPs": (Kind.MLP, "mlp_out"),
    "attention layers": (Kind.ATTN, "attn_out"),
}
READS = {
    "queries": (Kind.HEAD, "q"),
    "keys": (Kind.KV_HEAD, "k"),
    "values": (Kind.KV_HEAD, "v"),
}


def direct_total(findings: Findings) -> Figure | None:
    """Each component's direct and total effect; on the line the whole effect is direct."""
    groups = {name: _points(findings, kind, site) for name, (kind, site) in WRITES.items()}
    groups = {name: points for name, points in groups.items() if points}
    if not groups:
        return None
    return scatter(
        groups,
        xlabel=findings.axis_label("direct_effect", ON),
        ylabel=findings.axis_label("total_effect", ON),
    )


def reads(findings: Findings) -> Figure | None:
    """Maps of the total effects of queries, keys and values, if they were patched."""
    maps = {
        name: findings.of_components(kind, metric="total_effect", varied=ON, site=site)
        for name, (kind, site) in READS.items()
    }
    maps = {name: heads for name, heads in maps.items() if heads}
    label = findings.axis_label("total_effect", ON)
    return head_maps(maps, label=label, grid=findings.grid) if maps else None


def _points(findings: Findings, kind: Kind, site: str) -> list[Point]:
    direct, total = (
        findings.of_components(kind, metric=metric, varied=ON, site=site)
        for metric in ("direct_effect", "total_effect")
    )
    return [Point(each.label, direct[each], total[each]) for each in total if each in direct]

"""What is changed in a forward pass, as frozen values that know no model."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from analyses.errors import Refused
from analyses.results import Component, Kind


class Site(StrEnum):
    RESID_PRE = "resid_pre"  # the residual that enters a layer
    Q = "q"  # one head's query
    K = "k"  # the keys as one head reads them from the final position
    V = "v"  # the values as one head reads them from the final position
    Z = "z"  # one head's output, before its output matrix
    ATTN_OUT = "attn_out"  # what attention adds to the residual
    MLP_OUT = "mlp_out"  # what the MLP adds to the residual
    RESID_POST = "resid_post"  # the residual that leaves a layer


OF_A_HEAD = frozenset({Site.Q, Site.K, Site.V, Site.Z})
READS = frozenset({Site.K, Site.V})
BEFORE_ROTARY = frozenset({Site.Q, Site.K, Site.V})
IN_ATTENTION = frozenset({Site.Q, Site.K, Site.V, Site.Z, Site.ATTN_OUT})
_KINDS = {Site.ATTN_OUT: Kind.ATTN, Site.MLP_OUT: Kind.MLP}


class Path(StrEnum):
    TOTAL = "total"  # everything downstream reacts
    DIRECT = "direct"  # only the logits react: the write changes, no component reads the change


class ImpossiblePatch(Refused):
    def __init__(self, what: str, why: str, way_out: str) -> None:
        super().__init__(f"A patch of {what} cannot be made: {why}. {way_out}.")


@dataclass(frozen=True)
class FromSource:
    """The source recording's activation at the same site, prompt by prompt.

    `at` holds the positions in each source prompt, one for each position of the patch; by default
    the same positions.
    """

    at: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """One vector for all prompts, such as a mean, or one for each prompt."""

    value: Float[Tensor, "*batch d"]


@dataclass(frozen=True, eq=False)
class Apply:
    """A function of the activation: [batch, pos, d] in fp32 to the same shape."""

    function: Callable[[Float[Tensor, "batch pos d"]], Float[Tensor, "batch pos d"]]


def constant(values: NDArray[np.floating[Any]]) -> Constant:
    """A stored vector as the value of a patch."""
    return Constant(_tensor(values))


Value = FromSource | Constant | Apply
SOURCE = FromSource()
SAME = Apply(lambda x: x)  # a patch that changes nothing
ZERO = Constant(torch.zeros(()))


@dataclass(frozen=True, eq=False)
class Subspace:
    """x → mean + (x − mean) B Bᵀ, the projection onto a subspace around a mean.

    >>> first_axis = Subspace(mean=torch.tensor([0.0, 5.0]), basis=torch.tensor([[1.0], [0.0]]))
    >>> first_axis(torch.tensor([3.0, 4.0]))
    tensor([3., 5.])
    """

    mean: Float[Tensor, " d"]
    basis: Float[Tensor, "d rank"]  # orthonormal columns B

    def __call__(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        mean, basis = self.mean.to(x), self.basis.to(x)
        return mean + ((x - mean) @ basis) @ basis.T


def subspace(mean: NDArray[np.floating[Any]], basis: NDArray[np.floating[Any]]) -> Apply:
    """Projection onto a stored subspace as a value: `mean` [d], orthonormal `basis` [d, rank]."""
    return Apply(Subspace(_tensor(mean), _tensor(basis)))


def _tensor(values: NDArray[np.floating[Any]]) -> Float[Tensor, "*shape"]:
    return torch.from_numpy(np.array(values, dtype=np.float32))


@dataclass(frozen=True, kw_only=True)
class Patch:
    """The replacement of one site's activation.

    `at` holds the positions in each prompt, counted from its first token; by default the final one.
    For `k` and `v` it selects the keys that are changed (by default all), and the change reaches
    only what this head reads from the final position.

    >>> Patch(site=Site.Z, layer=9, head=6).name
    'z of L09.H06'
    >>> Patch(site=Site.MLP_OUT, layer=3, value=ZERO, at=((5,), (7,))).moves
    True
    """

    site: Site
    layer: int
    head: int | None = None
    value: Value = SOURCE
    at: tuple[tuple[int, ...], ...] | None = None
    before_rotary: bool = False

    def __post_init__(self) -> None:
        if (self.head is not None) != (self.site in OF_A_HEAD):
            needs = "needs a head" if self.head is None else "is not one head's"
            raise ImpossiblePatch(self.name, f"the site {self.site} {needs}", "Change `head`")
        if self.before_rotary and self.site not in BEFORE_ROTARY:
            raise ImpossiblePatch(
                self.name, "rotary embedding acts on queries and keys only", "Drop `before_rotary`"
            )

    @property
    def name(self) -> str:
        return f"{self.site} of {self.component.label}"

    @property
    def component(self) -> Component:
        """The component whose activation this is; of a residual, the model."""
        if self.head is not None:
            return Component(kind=Kind.HEAD, layer=self.layer, index=self.head)
        return Component(kind=_KINDS.get(self.site, Kind.MODEL), layer=self.layer)

    @property
    def moves(self) -> bool:
        """Whether it changes positions before the final one."""
        return self.at is not None and self.site not in READS


@dataclass(frozen=True)
class Intervention:
    """Patches that are made together; without any, nothing is changed.

    >>> heads = [Patch(site=Site.Z, layer=layer, head=0) for layer in (2, 4)]
    >>> Intervention(tuple(heads)).first_layer
    2
    """

    patches: tuple[Patch, ...] = ()
    path: Path = Path.TOTAL

    def __post_init__(self) -> None:
        for patch in self.patches:
            if self.path is Path.DIRECT and patch.moves:
                raise ImpossiblePatch(
                    patch.name,
                    "only the final position has a direct path to the logits",
                    "Drop `at`, or take the total path",
                )

    @property
    def first_layer(self) -> int | None:
        """The layer from which on all has to be recomputed; None where nothing has."""
        if self.path is Path.DIRECT or not self.patches:
            return None
        return min(patch.layer for patch in self.patches)

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(dict.fromkeys(patch.component for patch in self.patches))

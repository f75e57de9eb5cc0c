"""The losses by name. One explicit list; importing it imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfseg.errors import unknown_name

Category = Literal["weighting", "overlap", "regularising", "regression", "adversarial"]


@dataclass(frozen=True)
class LossInfo:
    """One loss.

    Attributes:
        name: in expressions and on the command line.
        category: what the loss does: ``weighting`` (cross-entropies that weigh voxels),
            ``overlap`` (a metric optimised directly), ``regularising`` (prior knowledge about
            shape, size or certainty), ``regression`` (between images or features),
            ``adversarial`` (terms of generator and critic).
        module: holds the function ``name``.
        signature: the function's own options with their defaults, as code.
        formula: in one line; p the target, q the probability, N voxels.
        paper: authors, year, identifier.
        kind: ``supervised``: of labels and logits, so it can be trained with; ``term``: a
            function of other tensors, used by training schemes.
        needs: what it takes besides labels and logits: ``image``, ``map``.
        aliases: other names for it.
        map_maker: for ``map``: ``module:function`` that makes it from a label map and those of the
            loss's options that the function takes.
    """

    name: str
    category: Category
    module: str
    signature: str
    formula: str
    paper: str
    kind: Literal["supervised", "term"] = "supervised"
    needs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    map_maker: str = ""


_VOXELWISE = (
    LossInfo(
        name="ce",
        category="weighting",
        module="tfseg.losses.cross_entropy",
        signature="ce()",
        formula="-1/N sum_c p_c log q_c",
        paper="information theory; Shannon 1948",
        aliases=("cross_entropy",),
    ),
)

_OVERLAP = (
    LossInfo(
        name="dice",
        category="overlap",
        module="tfseg.losses.overlap",
        signature="dice(smooth=1.0)",
        formula="1 - (2<p,q> + s) / (|p| + |q| + s)",
        paper="Drozdzal et al. 2016, arXiv:1608.04117",
        aliases=("dice_loss",),
    ),
)


def _by_name(*groups: tuple[LossInfo, ...]) -> dict[str, LossInfo]:
    table: dict[str, LossInfo] = {}
    for info in (info for group in groups for info in group):
        if info.name in table:
            raise ValueError(f"two losses are called {info.name}")
        table[info.name] = info
    return table


LOSSES: dict[str, LossInfo] = _by_name(_VOXELWISE, _OVERLAP)
_ALIASES = {alias: info.name for info in LOSSES.values() for alias in info.aliases}


def loss_info(name: str) -> LossInfo:
    """Return the entry of a name or alias.

    Raises:
        ConfigError: no such loss; the message lists the nearest names.
    """
    name = _ALIASES.get(name, name)
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]

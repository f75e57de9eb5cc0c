"""What the registry says of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
        frequencies: what its option ``frequencies`` holds where ``tfseg train`` fills it from the
            training cases: the ``share`` of all voxels that are of a class, or that ``within`` the
            cases that have the class.
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
    frequencies: Literal["", "share", "within"] = ""

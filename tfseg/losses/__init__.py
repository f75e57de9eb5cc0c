"""Losses, from logits, for 2D and 3D. One file a family."""

from tfseg.losses.compound import dice_ce, supervised_loss
from tfseg.losses.cross_entropy import cross_entropy
from tfseg.losses.dice import soft_dice_loss

__all__ = ["cross_entropy", "dice_ce", "soft_dice_loss", "supervised_loss"]

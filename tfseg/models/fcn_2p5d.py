"""2.5D FCN. Zhou et al. 2017, doi:10.1002/mp.12480: one FCN-8s for each direction of slices.

Three 2D networks see the slices of a volume across z, y and x (axial, coronal and sagittal ones
of a volume in that order), and vote on every voxel. With ``faithful=True``: three FCN-8s as
published, which do not share weights, and a majority vote; where all three disagree, the class
with the higher mean probability wins (ours). The default averages the three probabilities, which
blend over windows without steps of a third.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras

from tfseg.layers import FuseLogits, SliceStacks, SlicesToVolume
from tfseg.models.fcn import FCNConfig, fcn_logits

_VIEWS = ("axial", "coronal", "sagittal")  # across z, y, x
_STRIDE = 8  # of the finest scores


class FCN2p5DConfig(FCNConfig):
    """Options of :func:`build_fcn_2p5d`, besides those of each view's FCN-8s.

    Attributes:
        vote: of the three views; see :class:`~tfseg.layers.FuseLogits`.
    """

    paper: ClassVar[dict[str, Any]] = {**FCNConfig.paper, "vote": "majority"}

    vote: Literal["mean", "majority", "product"] = "mean"


def build_fcn_2p5d(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCN2p5DConfig
) -> Any:
    """Build the network: image (batch, z, y, x, c) -> logits (batch, z, y, x, classes).

    Any input size fits. The outputs are [fused, axial, coronal, sagittal logits].
    """
    inputs = keras.Input(input_shape, name="image")
    views = []
    for axis, view in enumerate(_VIEWS):
        slices = SliceStacks(reach=0, axis=axis, name=f"{view}_slices")(inputs)
        logits = fcn_logits(slices, num_classes, config, stride=_STRIDE, prefix=f"{view}_")
        volume = SlicesToVolume(axis=axis, dtype="float32", name=f"{view}_volume")
        views.append(volume([logits, inputs]))
    fused = FuseLogits(config.vote, name="logits")(views)
    return keras.Model(inputs, [fused, *views], name="fcn_2p5d")

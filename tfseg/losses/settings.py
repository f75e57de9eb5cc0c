"""Options that every supervised loss takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _some(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError("one class weight at least must be above 0")
    return weights


class LossSettings(BaseModel):
    """What all losses share; each term of a sum has its own.

    Attributes:
        class_weights: one factor a class, the background first. Voxelwise losses weigh every
            voxel with its class's factor; overlap losses average the classes with them.
        include_background: whether class 0 counts. Left out, voxelwise losses count it and
            overlap losses do not. Channels of a multi-label output all count.
        ignore_index: label value of voxels that do not count at all, e.g. 255.
        per_image: overlap is taken in each image; otherwise in the whole batch together, over
            all devices.
        voxel_reduction: voxelwise losses are the ``mean`` or the ``sum`` over voxels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    class_weights: (
        Annotated[
            tuple[Annotated[float, Field(ge=0)], ...],
            Field(min_length=1, max_length=255),
            AfterValidator(_some),
        ]
        | None
    ) = None
    include_background: bool | None = None
    ignore_index: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    per_image: bool = True
    voxel_reduction: Literal["mean", "sum"] = "mean"

"""Steps on intensities before normalisation, as data: denoising, histograms, shading.

A channel of the plan holds an ordered list of them. They work on the grid of the source, on raw
intensities, and change no geometry: labels stay as they are. :mod:`tfseg.preprocess.steps` is
what they do in training and prediction, ``tfseg_export.steps_graph`` the same in served graphs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Bounded so that float32 holds it.
_Finite = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=100)]
_Sigma = Annotated[float, Field(ge=0, le=8)]
_Levels = Annotated[int, Field(ge=2, le=65536)]


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Range(_Step):
    @model_validator(mode="after")
    def _range_is_open(self) -> _Range:
        low, high = getattr(self, "low", None), getattr(self, "high", None)
        if low is not None and high is not None and low >= high:
            raise ValueError(f"low must be below high; got {low} and {high}")
        return self


class Clip(_Range):
    """Intensities outside ``[low, high]`` become the nearer bound: metal, padding, spikes.

    Not invertible.
    """

    kind: Literal["clip"] = "clip"
    low: _Finite
    high: _Finite


class PercentileClip(_Range):
    """As Clip, at percentiles of the volume itself. Not invertible."""

    kind: Literal["percentile_clip"] = "percentile_clip"
    low: _Share = 0.5
    high: _Share = 99.5


class Gaussian(_Step):
    """Smoothing by a Gaussian, cut off at 4 standard deviations, edges mirrored.

    Not invertible.

    Attributes:
        sigma_vox: standard deviation along (z, y, x), in voxels of the source; 0 leaves an axis
            alone.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_vox: tuple[_Sigma, _Sigma, _Sigma] = (0.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _smooths_something(self) -> Gaussian:
        if not any(self.sigma_vox):
            raise ValueError(f"sigma_vox must be above 0 along an axis; got {self.sigma_vox}")
        return self


class Median(_Step):
    """The median of a box around each voxel, edges mirrored: for salt and pepper noise.

    Not invertible.

    Attributes:
        size_vox: edges of the box (z, y, x) in voxels of the source: 1, 3 or 5.
    """

    kind: Literal["median"] = "median"
    size_vox: tuple[Literal[1, 3, 5], Literal[1, 3, 5], Literal[1, 3, 5]] = (1, 3, 3)

    @model_validator(mode="after")
    def _takes_neighbours(self) -> Median:
        if max(self.size_vox) == 1:
            raise ValueError(f"size_vox must be 3 or 5 along an axis; got {self.size_vox}")
        return self


class NonLocalMeans(_Step):
    """Mean of the voxels whose surroundings look alike, slice by slice.

    Each voxel of the search window weighs ``exp(-max(d2 - 2 s2, 0) / (strength s)^2)``, where d2
    is the mean squared difference of the patches around both and s the noise of the volume,
    estimated after Immerkaer 1996 (doi:10.1006/cviu.1996.0060). Buades, Coll, Morel 2005
    (doi:10.1109/CVPR.2005.38), without their Gaussian weights inside a patch. Not invertible.

    Attributes:
        strength: of the smoothing, in standard deviations of the noise.
        search_radius_vox: the search window is ``2 r + 1`` voxels wide in y and x.
        patch_radius_vox: the patches are ``2 r + 1`` voxels wide in y and x.
    """

    kind: Literal["nlm"] = "nlm"
    strength: Annotated[float, Field(gt=0, le=5)] = 1.0
    search_radius_vox: Annotated[int, Field(ge=1, le=5)] = 3
    patch_radius_vox: Annotated[int, Field(ge=1, le=3)] = 1


class HistEqualise(_Step):
    """The share of the volume's voxels that are darker: ``(C(v) - C(min)) / (1 - C(min))``.

    C is the cumulative histogram, linear between ``levels`` intensities that divide the volume's
    range evenly. The result lies in [0, 1]; a constant volume becomes 0. Not invertible without
    the volume's histogram.
    """

    kind: Literal["hist_equalise"] = "hist_equalise"
    levels: _Levels = 256


class Clahe(_Step):
    """Contrast-limited adaptive histogram equalisation, slice by slice.

    Every slice is divided into ``tiles`` x ``tiles`` parts (mirrored at its end to divide
    evenly). A part's histogram is cut at ``clip_limit`` times its mean count, what was cut is
    spread over all levels, and its cumulative sum is the part's curve; a voxel's value is
    interpolated between the curves of the four nearest parts. Zuiderveld 1994 (Graphics Gems IV,
    VIII.5), with OpenCV's conventions, on ``levels`` intensities that divide the volume's range,
    linear in between. The result lies in [0, 1]; of a constant volume it is constant. Not
    invertible.
    """

    kind: Literal["clahe"] = "clahe"
    tiles: Annotated[int, Field(ge=1, le=32)] = 8
    clip_limit: Annotated[float, Field(ge=1, le=1000)] = 2.0
    levels: Annotated[int, Field(ge=2, le=1024)] = 256


class HistMatch(_Step):
    """Percentiles of the volume are moved to landmarks, linearly in between and beyond.

    Percentiles are those of the voxels above the volume's mean, which leaves out air. Nyul,
    Udupa, Zhang 2000 (doi:10.1109/42.836373). Invertible where the landmarks rise:
    :func:`tfseg.preprocess.histograms.move_landmarks` from the landmarks to the percentiles.

    Attributes:
        percentiles: increasing, in [0, 100].
        landmarks: where they go; as many, none below the one before, the last above the first.
            ``tfseg plan --step hist_match`` learns them from the training data.
    """

    kind: Literal["hist_match"] = "hist_match"
    percentiles: Annotated[tuple[_Share, ...], Field(min_length=2, max_length=101)] = (
        1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99,
    )  # fmt: skip
    landmarks: tuple[_Finite, ...] | None = None

    @model_validator(mode="after")
    def _landmarks_rise(self) -> HistMatch:
        if any(low >= high for low, high in pairwise(self.percentiles)):
            raise ValueError(f"percentiles must increase; got {self.percentiles}")
        marks = self.landmarks
        if marks is None:
            return self
        if len(marks) != len(self.percentiles):
            raise ValueError(
                f"landmarks must be as many as percentiles ({len(self.percentiles)}); "
                f"got {len(marks)}"
            )
        if any(low > high for low, high in pairwise(marks)) or marks[0] == marks[-1]:
            raise ValueError(f"landmarks must not decrease and not be all alike; got {marks}")
        return self


class BiasField(_Step):
    """Slow shading of MR removed: ``v / exp(B)``, B a polynomial in z, y and x.

    B is found by sharpening the histogram of log intensities, in turn with a least squares fit of
    what the sharpening moved, as in N3 (Sled, Zijdenbos, Evans 1998, doi:10.1109/42.668698), with
    a polynomial in the place of splines. It is fitted on a thinned grid, to voxels above the
    volume's mean, over which the mean of B is 0. Invertible: multiply by
    :func:`tfseg.preprocess.bias.bias_field`.

    Attributes:
        order: largest total degree of the polynomial.
        iterations: of sharpening and fit.
    """

    kind: Literal["bias_field"] = "bias_field"
    order: Annotated[int, Field(ge=1, le=5)] = 3
    iterations: Annotated[int, Field(ge=1, le=200)] = 50


Step = (
    Clip | PercentileClip | Gaussian | Median | NonLocalMeans | HistEqualise | Clahe
    | HistMatch | BiasField
)  # fmt: skip
Steps = tuple[Annotated[Step, Field(discriminator="kind")], ...]
KINDS: dict[str, type[BaseModel]] = {
    step.model_fields["kind"].default: step for step in get_args(Step)
}

# Their results lie in [0, 1], whatever the unit of the source was.
TO_UNIT_RANGE = (HistEqualise, Clahe)
# They change what a number means, so constants learnt on raw intensities no longer fit.
RESCALING = (*TO_UNIT_RANGE, HistMatch)


def reach_z(step: Step) -> float:
    """Return how far along z a step looks, in voxels; 0 if its filter stays in the slice."""
    if isinstance(step, Gaussian):
        return step.sigma_vox[0]
    if isinstance(step, Median):
        return step.size_vox[0] // 2
    return 0

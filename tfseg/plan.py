"""The plan: every decision between raw voxels and the network, as data a person can read.

It is made once by :mod:`tfseg.planning`, may be edited as JSON, and travels with the run and
with every export: preprocessing at serving time is the plan's, to the digit.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tfseg.errors import ConfigError
from tfseg.files import read_json, write_json
from tfseg.steps import TO_UNIT_RANGE, HistMatch, Steps, reach_z

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClipZScore(_Record):
    """CT-like normalisation with constants of the training set: ``(clip(v) - mean) / std``."""

    kind: Literal["clip_zscore"] = "clip_zscore"
    low: _Finite
    high: _Finite
    mean: _Finite
    std: _Positive

    @model_validator(mode="after")
    def _range_is_open(self) -> ClipZScore:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; got {self.low} and {self.high}")
        return self


class ZScore(_Record):
    """MR-like normalisation with each volume's own mean and standard deviation."""

    kind: Literal["zscore"] = "zscore"


class Scale(_Record):
    """Fixed linear map ``(v - offset) / scale``, e.g. 8-bit photographs to [-1, 1]."""

    kind: Literal["scale"] = "scale"
    offset: _Finite = 0.0
    scale: _Positive = 1.0


# Windows in HU by name. The first five are those of the networks' papers: H-DenseUNet
# (arXiv:1709.07330), cascaded FCN (arXiv:1702.05970), a symmetric one of several others, FracNet
# (doi:10.1016/j.ebiom.2020.103106) and LUNA16's baselines; the rest are radiologists' usual
# level and width: 40 and 400, 50 and 350, 400 and 1800, 40 and 80.
WINDOWS_HU = {
    "liver": (-200.0, 250.0),
    "liver_wide": (-100.0, 400.0),
    "liver_symmetric": (-200.0, 200.0),
    "rib": (-200.0, 1000.0),
    "lung": (-1000.0, 400.0),
    "soft_tissue": (-160.0, 240.0),
    "mediastinum": (-125.0, 225.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
}


class Window(_Record):
    """A display window to [0, 1]: ``(clip(v) - low) / (high - low)``.

    ``preset`` may be given in the place of both bounds: a name of :data:`WINDOWS_HU`. The plan
    keeps the bounds.
    """

    kind: Literal["window"] = "window"
    low: _Finite
    high: _Finite

    @model_validator(mode="before")
    @classmethod
    def _bounds_of_preset(cls, document: Any) -> Any:
        if not isinstance(document, dict) or "preset" not in document:
            return document
        preset = document["preset"]
        if "low" in document or "high" in document:
            raise ValueError("preset must come alone, without low and high; remove one of them")
        if not isinstance(preset, str) or preset not in WINDOWS_HU:
            raise ValueError(f"preset must be one of {', '.join(WINDOWS_HU)}")
        low, high = WINDOWS_HU[preset]
        rest = {key: value for key, value in document.items() if key != "preset"}
        return {**rest, "low": low, "high": high}

    @model_validator(mode="after")
    def _range_is_open(self) -> Window:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; got {self.low} and {self.high}")
        return self


class MinMax(_Record):
    """Each volume's own range to [0, 1]."""

    kind: Literal["minmax"] = "minmax"


class Percentiles(_Record):
    """Clipped to each volume's own percentiles, then as ZScore: for MR with bright artefacts."""

    kind: Literal["percentiles"] = "percentiles"
    low: Annotated[float, Field(ge=0, le=100)] = 0.5
    high: Annotated[float, Field(ge=0, le=100)] = 99.5

    @model_validator(mode="after")
    def _range_is_open(self) -> Percentiles:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; got {self.low} and {self.high}")
        return self


class NonzeroZScore(_Record):
    """ZScore over the voxels that are not 0, which stay 0: for skull-stripped MR.

    Myronenko 2018, arXiv:1810.11654.
    """

    kind: Literal["nonzero_zscore"] = "nonzero_zscore"


Normalisation = ClipZScore | ZScore | Scale | Window | MinMax | Percentiles | NonzeroZScore


class Channel(_Record):
    """One input channel: its name, its unit, steps on its intensities, how it is normalised.

    The steps come first, in their order.
    """

    name: str
    unit: str = "arbitrary"
    steps: Steps = ()
    normalisation: Annotated[Normalisation, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _steps_are_complete(self) -> Channel:
        if any(isinstance(step, HistMatch) and step.landmarks is None for step in self.steps):
            raise ValueError(
                "hist_match must have landmarks, learnt by `tfseg plan DATA --step hist_match`"
            )
        return self

    @model_validator(mode="after")
    def _constants_fit_the_steps(self) -> Channel:
        rule = self.normalisation
        # Later steps, such as a clip, keep within [0, 1], unless they match histograms.
        unit_range = False
        for step in self.steps:
            if isinstance(step, (*TO_UNIT_RANGE, HistMatch)):
                unit_range = isinstance(step, TO_UNIT_RANGE)
        outside = isinstance(rule, ClipZScore | Window) and not 0 <= rule.low < rule.high <= 1
        if unit_range and outside:
            raise ValueError(
                f"{rule.kind} after hist_equalise or clahe must have low and high within 0 and 1, "
                "where their results lie; use zscore, or remove the step"
            )
        return self


class Plan(_Record):
    """How volumes become network input, and patches become label maps.

    Attributes:
        dims: rank of the network, 2 or 3. A 2D network sees the slices along z one by one.
        spacing_mm: voxel size the network works at: (z, y, x), or (y, x) when ``dims`` is 2.
            ``None`` keeps each volume's own (photographs have no millimetres).
        patch_size: network input in voxels: (z, y, x) or (y, x).
        batch_size: patches a training step, over all replicas.
        channels: the input channels, in order.
        labels: names of the label values 0..k-1; 0 is the background.
        overlap: share of a window that the next one covers at inference, in [0, 0.9].
        interpolation: of images resampled to ``spacing_mm``: linear, or cubic B-splines, which
            keep finer detail; those are linear along an axis with voxels more than three times
            the smallest.
        label_interpolation: of reference labels for training: the nearest voxel, or each label's
            mask linearly, the greatest winning.
        orientation: of the array axes; volumes are turned to it without interpolation.
    """

    version: Literal[1] = 1
    dims: Literal[2, 3]
    spacing_mm: tuple[_Positive, ...] | None
    patch_size: tuple[Annotated[int, Field(ge=1, le=4096)], ...]
    batch_size: Annotated[int, Field(ge=1, le=1024)]
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=255)]
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.5
    interpolation: Literal["linear", "cubic"] = "linear"
    label_interpolation: Literal["nearest", "linear"] = "nearest"
    orientation: Literal["SPL"] = "SPL"

    @model_validator(mode="after")
    def _ranks_agree(self) -> Plan:
        for name in ("spacing_mm", "patch_size"):
            value = getattr(self, name)
            if value is not None and len(value) != self.dims:
                raise ValueError(f"{name} must have dims={self.dims} entries; got {value}")
        if self.dims == 2 and any(reach_z(step) for each in self.channels for step in each.steps):
            raise ValueError(
                "steps of a 2D plan must not look along z, where a stack of photographs may lie; "
                "set the first of sigma_vox to 0 and of size_vox to 1"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must have different names; got {self.labels}")
        return self

    @property
    def num_classes(self) -> int:
        """Number of label values, the background included."""
        return len(self.labels)

    def target_spacing(self, source_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the voxel size (z, y, x) to resample a volume of ``source_mm`` to."""
        if self.spacing_mm is None:
            return source_mm
        if self.dims == 2:
            return source_mm[0], self.spacing_mm[0], self.spacing_mm[1]
        return self.spacing_mm[0], self.spacing_mm[1], self.spacing_mm[2]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan.

        Raises:
            DataError: no such file, or no JSON.
            ConfigError: a value breaks its rule; the message names it.
        """
        return cls.parse(read_json(path, "the plan"), str(path))

    @classmethod
    def parse(cls, document: object, source: str) -> Plan:
        """Validate a plan given as parsed JSON; ``source`` names it in messages."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{source} is no valid plan: {first_problem(error)}.") from error


def first_problem(error: ValidationError) -> str:
    """Return pydantic's first finding as ``where: rule; got value``."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "document"
    message = problem["msg"].removeprefix("Value error, ")
    given = repr(problem["input"])
    return f"{where}: {message}; got {given if len(given) <= 80 else given[:77] + '...'}"

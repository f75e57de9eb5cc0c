"""How training patches are varied: probabilities and ranges, alone or as named sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower end of a range must come first")
    return bounds


_Factor = Annotated[float, Field(ge=0.2, le=5, strict=True)]
_Sigma = Annotated[float, Field(ge=0, le=10, strict=True)]
_Zoom = Annotated[float, Field(ge=0.1, le=1, strict=True)]
_Factors = Annotated[tuple[_Factor, _Factor], AfterValidator(_in_order)]
_Sigmas = Annotated[tuple[_Sigma, _Sigma], AfterValidator(_in_order)]
_Zooms = Annotated[tuple[_Zoom, _Zoom], AfterValidator(_in_order)]


class AugmentationConfig(BaseModel):
    """How training patches are varied; see docs/training.md.

    An entry named after an operation is its probability, for each patch; 0 switches it off. The
    entries that begin with the same word are its range. Factors and exponents are drawn evenly
    on a logarithmic scale, all else evenly. Intensities are the normalised ones.

    ``preset`` may name a set (:data:`SETS`) that the other entries then change; the configuration
    keeps the values.

    Attributes:
        flip: axes that may be mirrored, of ``zyx``; each with probability 0.5.
        rotation_degrees: largest angle about each axis, in millimetres (2D: in the plane).
        scale_range: zoom factor; above 1 things look larger.
        elastic_grid: control points along each axis of the patch, or cells of B-splines.
        elastic_sigma_vox: standard deviation of the control points' displacement along each axis,
            in voxels of the finest axis (the same in mm along all); ``None``: a tenth of the
            distance between control points, axis by axis.
        elastic_spline: ``cubic`` passes through the displacements drawn at ``elastic_grid`` points;
            ``bspline`` takes them as coefficients of cubic B-splines on ``elastic_grid`` cells.
        bias_std: standard deviation of the logarithm of a smooth field that multiplies what is
            above the patch's lowest value, as the coils of an MR scanner do.
        noise_std: largest standard deviation of added Gaussian noise.
        blur_sigma_vox: Gaussian blur.
        contrast_range: factor about the mean; what goes beyond the patch's range is cut.
        brightness_shift: what is added, at most, up or down.
        brightness_range: factor about 0.
        low_resolution_zoom: size of the coarser grid that a patch goes through.
        gamma: exponent on the patch scaled to [0, 1]; mean and standard deviation are restored.
        inverted_gamma: the same on the negative.
        gamma_range: exponent of both.
        colour: of photographs: hue and saturation.
        hue_degrees: largest turn of colours about the grey axis.
        saturation_range: factor on the distance from grey.
        per_channel: each channel has its own draws of intensity; else one draw is for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: Annotated[str, Field(pattern="^[zyx]*$")] = "zyx"
    rotation: _Probability = 0.3
    rotation_degrees: Annotated[float, Field(ge=0, le=180, strict=True)] = 30.0
    scale: _Probability = 0.3
    scale_range: _Factors = (0.8, 1.25)
    elastic: _Probability = 0.0
    elastic_grid: Annotated[int, Field(ge=2, le=8, strict=True)] = 3
    elastic_sigma_vox: Annotated[float, Field(ge=0, le=1000, strict=True)] | None = None
    elastic_spline: Literal["cubic", "bspline"] = "cubic"
    bias: _Probability = 0.0
    bias_std: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.2
    noise: _Probability = 0.15
    noise_std: Annotated[float, Field(ge=0, le=2, strict=True)] = 0.2
    blur: _Probability = 0.0
    blur_sigma_vox: _Sigmas = (0.5, 1.0)
    contrast: _Probability = 0.2
    contrast_range: _Factors = (0.75, 1.25)
    brightness: _Probability = 0.2
    brightness_shift: Annotated[float, Field(ge=0, le=3, strict=True)] = 0.2
    brightness_range: _Factors = (1.0, 1.0)
    low_resolution: _Probability = 0.0
    low_resolution_zoom: _Zooms = (0.5, 1.0)
    inverted_gamma: _Probability = 0.0
    gamma: _Probability = 0.15
    gamma_range: _Factors = (0.7, 1.5)
    colour: _Probability = 0.0
    hue_degrees: Annotated[float, Field(ge=0, le=180, strict=True)] = 15.0
    saturation_range: _Factors = (0.75, 1.33)
    per_channel: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="before")
    @classmethod
    def _values_of_preset(cls, document: Any) -> Any:
        if isinstance(document, str):
            document = {"preset": document}
        if not isinstance(document, dict) or "preset" not in document:
            return document
        rest = {key: value for key, value in document.items() if key != "preset"}
        preset = document["preset"]
        if not isinstance(preset, str) or preset not in SETS:
            raise ValueError(f"preset must be one of {', '.join(SETS)}")
        return {**SETS[preset], **rest}


_OFF: dict[str, Any] = {
    "flip": "",
    "rotation": 0.0,
    "scale": 0.0,
    "noise": 0.0,
    "contrast": 0.0,
    "brightness": 0.0,
    "gamma": 0.0,
}

# Named sets, as changes to the defaults. What is for one kind of image only, a bias field or
# colours, is in none.
SETS: dict[str, dict[str, Any]] = {
    "none": _OFF,
    "default": {},
    "strong": {
        "rotation": 0.5,
        "rotation_degrees": 45.0,
        "scale": 0.5,
        "scale_range": (0.7, 1.4),
        "elastic": 0.3,
        "elastic_grid": 4,
        "noise": 0.25,
        "noise_std": 0.3,
        "blur": 0.25,
        "blur_sigma_vox": (0.5, 1.5),
        "contrast": 0.3,
        "contrast_range": (0.65, 1.5),
        "brightness": 0.3,
        "brightness_shift": 0.3,
        "low_resolution": 0.3,
        "gamma": 0.3,
        "inverted_gamma": 0.15,
        "per_channel": True,
    },
    # Probabilities and ranges of nnU-Net v2's trainer (Isensee et al. 2021,
    # doi:10.1038/s41592-020-01008-z): its noise has a variance of up to 0.1; of blur and low
    # resolution, which it draws for the patch and then for each channel, the products.
    "nnunet": {
        "rotation": 0.2,
        "scale": 0.2,
        "scale_range": (0.7, 1.4),
        "noise": 0.1,
        "noise_std": 0.316,
        "blur": 0.1,
        "contrast": 0.15,
        "brightness": 0.15,
        "brightness_shift": 0.0,
        "brightness_range": (0.75, 1.25),
        "low_resolution": 0.125,
        "inverted_gamma": 0.1,
        "gamma": 0.3,
        "per_channel": True,
    },
    # Ronneberger et al. 2015, arXiv:1505.04597, section 3.1. The paper names shifts, rotations and
    # grey values, too, without figures; they are the defaults'.
    "unet": {
        **_OFF,
        "rotation": 0.3,
        "contrast": 0.2,
        "brightness": 0.2,
        "elastic": 1.0,
        "elastic_grid": 3,
        "elastic_sigma_vox": 10.0,
    },
    # Milletari et al. 2016, arXiv:1606.04797, section 4. The authors' code has a mesh of 2x2x2
    # cells, and Gaussian coefficients. Their histogram matching between scans is not there.
    "vnet": {
        **_OFF,
        "elastic": 1.0,
        "elastic_grid": 2,
        "elastic_sigma_vox": 15.0,
        "elastic_spline": "bspline",
    },
}

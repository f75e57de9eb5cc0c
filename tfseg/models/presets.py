"""Published uses of a network as data: its options, and how it was trained.

`tfseg train --model focal_fcn` is `tfseg train --model fcn8s` with these settings; whatever the
user gives goes before them. Importing this imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One published use.

    Attributes:
        name: on the command line.
        model: registry name of the network.
        paper: authors, year and identifier.
        use: what for, and what here differs from the paper.
        options: of the network.
        settings: of the training run.
        ours: what of it is not the paper's, or not known from it.
    """

    name: str
    model: str
    paper: str
    use: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    ours: str = ""


_PRESETS = (
    Preset(
        "focal_fcn",
        "fcn8s",
        "Zhou et al. 2017, arXiv:1711.01506",
        "small objects with little data",
        settings={"loss": "focal(gamma=2)"},
        ours="widths of the network",
    ),
    Preset(
        "edge_fcn",
        "fcn8s",
        "Wang et al., edge-aware fully convolutional network",
        "brain MR; edges count twice. The paper's dense CRF is not applied",
        settings={"loss": "edge_weighted_ce(extra=1, width=2)"},
        ours="how edges are weighed",
    ),
    Preset(
        "optic_fcn",
        "fcn8s",
        "Edupuganti, Chawla, Kale 2018, ICIP",
        "optic disc and cup in fundus images; classes weighed by their frequency",
        settings={"loss": "median_freq_ce"},
    ),
    Preset(
        "star_fcn",
        "unet",
        "Mirikharaji & Hamarneh 2018, arXiv:1806.08437",
        "skin lesions; a prior for star-shaped objects",
        settings={"loss": "ce + 40*star_shape"},
    ),
    Preset(
        "segnet_liver",
        "segnet",
        "Almotairi et al. 2020, doi:10.3390/s20051516",
        "liver tumours in CT slices",
        settings={"loss": "median_freq_ce"},
    ),
    Preset(
        "segnet_blood",
        "segnet",
        "Tran et al. 2018",
        "red and white cells in blood smears",
        settings={"loss": "median_freq_ce"},
    ),
    Preset(
        "segnet_knee",
        "segnet",
        "Liu et al. 2018, doi:10.1002/mrm.26841",
        "bone and cartilage in knee MR slices. The paper's surface refinement is not applied",
        settings={"loss": "ce"},
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}

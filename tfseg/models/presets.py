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
    Preset(
        "attention_unet_same_grid",
        "attention_unet",
        "LeeJunHyun, Image_Segmentation (code)",
        "the form that is widely used in 2D: gates on the upsampled map's own grid",
        options={"gate": "same_grid", "deep_supervision": False},
    ),
    Preset(
        "use_net_encoder",
        "use_net",
        "Rundo et al. 2019, arXiv:1904.08254",
        "prostate zones in MR of one hospital: squeeze-and-excitation in the encoder alone",
        options={"squeeze": "encoder"},
        settings={"loss": "dice"},
    ),
    Preset(
        "vnet_prostate",
        "vnet",
        "Milletari et al. 2016, arXiv:1606.04797",
        "the prostate in MR, with the depths and the head of the authors' released network",
        options={"encoder": (1, 1, 2, 3, 3), "decoder": (3, 2, 1, 1), "head": "conv"},
        settings={"loss": "dice(form='squared')"},
    ),
    Preset(
        "vnet_monai",
        "vnet",
        "MONAI, monai.networks.nets.VNet (code)",
        "the form of that library: fewer convolutions, batch normalisation, ELU, 5x5x5 kernels",
        options={
            "encoder": (1, 1, 2, 3, 2),
            "decoder": (2, 2, 1, 1),
            "head": "conv",
            "kernel": 5,
            "norm": "batch",
            "activation": "elu",
        },
    ),
    Preset(
        "refinenet50",
        "refinenet",
        "Lin et al. 2016, arXiv:1611.06612",
        "a smaller encoder than the paper's",
        options={"backbone": "resnet50"},
    ),
    Preset(
        "refinenet101",
        "refinenet",
        "Lin et al. 2016, arXiv:1611.06612",
        "the paper's encoder",
        options={"backbone": "resnet101"},
    ),
    Preset(
        "deeplabv2_aspp_s",
        "deeplabv2",
        "Chen et al. 2016, arXiv:1606.00915",
        "small objects: the paper's ResNet-101 with its smaller dilations",
        options={"backbone": "resnet101", "output_stride": 8, "rates": (2, 4, 8, 12)},
    ),
    Preset(
        "deeplabv2_aspp_l",
        "deeplabv2",
        "Chen et al. 2016, arXiv:1606.00915",
        "large objects: the paper's ResNet-101 with its larger dilations",
        options={"backbone": "resnet101", "output_stride": 8, "rates": (6, 12, 18, 24)},
    ),
    Preset(
        "deeplabv2_vgg",
        "deeplabv2",
        "Chen et al. 2016, arXiv:1606.00915",
        "the paper's VGG-16 form, with two layers of its own in each branch",
        options={
            "backbone": "vgg16",
            "norm": "none",
            "output_stride": 8,
            "rates": (6, 12, 18, 24),
            "branch_factor": 16,
        },
    ),
    Preset(
        "deeplabv3_cascade",
        "deeplabv3",
        "Chen et al. 2017, arXiv:1706.05587",
        "further copies of the encoder's last block instead of a pyramid",
        options={"mode": "cascade", "backbone": "resnet50", "last_conv": False},
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}

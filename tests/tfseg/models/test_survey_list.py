"""Every network that the surveys describe is in the list of networks.

The ids are those of the specification kept beside the real scans, which is read where it is there.
"""

import json
import re

import pytest

from tfseg.cli.main import run
from tfseg.models import MODELS, PRESETS


def _words(text: str) -> list[str]:
    return text.split()


SURVEYED_BACKBONES = _words(
    """
    lenet5 alexnet vgg16 vgg19 googlenet resnet18 resnet34 resnet50 resnet101 resnet152
    se_resnet50 densenet121 densenet161 xception xception65 p3d
"""
)

SURVEYED_NETWORKS = _words(
    """
    fcn32s fcn16s fcn8s tran_fcn nie_fcn3d dilated_fcn_ild fcn_preproc_resnet deconvnet deeplabv1
    deeplabv2 deeplabv3 deeplabv3plus pspnet refinenet acnn gcn fcn_ppm_3d segnet unet res_unet
    multiresunet multiresunet3d attention_unet attn_guided_unet attention_dense_unet use_net
    inverted_net all_dropout all_convolutional pixelbnn vessel_ds_unet lu_net lazy_multitask_unet
    fc_densenet56 fc_densenet67 fc_densenet103 dense_unet3d h_denseunet drinet unet3d vnet
    segresnet segresnet_vae sulci_unet3d nonlocal_unet unet3d_ds kidnet fracnet cfun faster_rcnn
    mask_rcnn
"""
)

SURVEYED_CASCADES = _words(
    """
    fcn_2p5d cfcn cascaded_vnet unet3d_two_stage han_dcnn25d autocontext detect_then_segment
"""
)

# Uses of a network: its options, or how it is trained.
SURVEYED_PRESETS = _words(
    """
    focal_fcn edge_fcn optic_fcn star_fcn segnet_liver segnet_blood segnet_knee
"""
)

FAMILIES = {"BB", "A", "B", "C", "D", "D/F", "E", "F", "G", "K"}


def test_every_surveyed_network_is_listed():
    """Without a test for each: the list is long, and starting one takes longer than looking."""
    kinds = {name: info.kind for name, info in MODELS.items()}
    surveyed = dict.fromkeys(SURVEYED_BACKBONES, "backbone")
    surveyed |= dict.fromkeys([*SURVEYED_NETWORKS, *SURVEYED_CASCADES], "segmentation")
    assert surveyed.items() <= kinds.items()
    assert set(SURVEYED_PRESETS) <= set(PRESETS)


def test_the_command_prints_them_all(capfd):
    assert run(["models", "--json"]) == 0
    listed = {entry["name"] for entry in json.loads(capfd.readouterr().out)}
    surveyed = {*SURVEYED_BACKBONES, *SURVEYED_NETWORKS, *SURVEYED_CASCADES, *SURVEYED_PRESETS}
    assert surveyed <= listed


def named_in(cell):
    """Return the ids of a row's first cell; one may stand for several: densenet121/161."""
    cell = cell.replace("`resnet18..152`", "`resnet18/34/50/101/152`")
    found = []
    for text in re.findall(r"`([^`]+)`", cell):
        first, *others = text.split("/")
        found.append(first)
        for other in others:
            digits = other.isdecimal()
            stem = first.rstrip("0123456789") if digits else first.rpartition("_")[0]
            found.append(stem + other)
    return found


def test_the_specification_names_no_other(real_data):
    document = real_data.parent / "SYSTEMS.md"
    if not document.is_file():
        pytest.skip(f"the specification is absent: no file {document}")
    index = document.read_text(encoding="utf-8").split("\n## 19.")[1]
    named = []
    for line in index.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| `") and cells[2] in FAMILIES:
            named += named_in(cells[1])
    assert len(named) > 60
    surveyed = [*SURVEYED_BACKBONES, *SURVEYED_NETWORKS, *SURVEYED_CASCADES, *SURVEYED_PRESETS]
    assert sorted(set(named)) == sorted(surveyed)

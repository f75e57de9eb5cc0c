"""Presets: published uses of a network, as data."""

import keras
import numpy as np
import pytest

from tfseg.losses import build_loss
from tfseg.models import MODELS, PRESETS, build, model_config, model_info


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_is_a_network_with_valid_settings(name):
    preset = PRESETS[name]
    assert name not in MODELS
    assert model_info(name) == MODELS[preset.model]
    assert model_config(name) == model_config(preset.model, **preset.options)
    assert preset.use
    assert preset.paper
    build_loss(preset.settings.get("loss", "dice + ce")).check((8, 8), 3, 1)


def test_the_paper_form_has_the_network_s_count():
    """FCN-8s for 3 classes: VGG-16's trunk, fc6 and fc7, three scores, three deconvolutions."""
    with keras.StatelessScope(initialize_variables=False):
        model = build("optic_fcn", (None, None, 3), 3, faithful=True)
    trunk, fc6, fc7 = 14_714_688, 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    scores = 3 * (4096 + 512 + 256) + 3 * 3
    deconvolutions = (2 * 4 * 4 + 16 * 16) * 3 * 3
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == trunk + fc6 + fc7 + scores + deconvolutions == 134_277_737


BOTTLENECK = 2048 * 512 + 9 * 512 * 512 + 512 * 2048 + 2 * (512 + 512 + 2048)
SQUEEZED = sum(2 * f * f // 8 + f // 8 + f for f in (64, 128, 256, 512, 1024))
VGG_BRANCH = (9 * 512 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 21 + 21)
AUXILIARY = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "classes", "options", "parameters"),
    [
        ("attention_unet_same_grid", (64, 64, 3), 1, {"base_filters": 64}, 34_878_573),
        ("use_net_encoder", (64, 64, 1), 3, {}, 31_042_499 + SQUEEZED),
        ("vnet_prostate", (64, 64, 32, 1), 2, {}, 61_982_682),
        # The library's default has biases in its four transposed convolutions, too.
        ("vnet_monai", (64, 64, 32, 1), 1, {}, 45_593_892 - (128 + 64 + 32 + 16)),
        ("refinenet50", (64, 64, 3), 21, {}, 90_814_549),
        ("refinenet101", (64, 64, 3), 21, {}, 109_806_677),
        ("deeplabv2_aspp_s", (65, 65, 3), 21, {}, 44_048_532),
        ("deeplabv2_aspp_l", (65, 65, 3), 21, {}, 44_048_532),
        ("deeplabv2_vgg", (65, 65, 3), 21, {}, 14_714_688 + 4 * VGG_BRANCH),
        # ResNet-50, nine bottlenecks, the scores, and the auxiliary head of v3.
        (
            "deeplabv3_cascade", (65, 65, 3), 21, {},
            23_508_032 + 9 * BOTTLENECK + 2048 * 21 + 21 + AUXILIARY,
        ),
        ("edge_fcn", (None, None, 3), 2, {}, 134_271_430),
        ("focal_fcn", (None, None, 3), 2, {}, 134_271_430),
        ("segnet_liver", (64, 64, 3), 2, {}, 29_444_162),
        # Three and five classes: the last convolution has 9 * 64 + 1 weights a class.
        ("segnet_blood", (64, 64, 3), 3, {}, 29_444_162 + 577),
        ("segnet_knee", (64, 64, 3), 5, {}, 29_444_162 + 3 * 577),
    ],
)  # fmt: skip
def test_published_counts_of_presets(name, shape, classes, options, parameters):
    with keras.StatelessScope(initialize_variables=False):
        model = build(name, shape, classes, faithful=True, **options)
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == parameters

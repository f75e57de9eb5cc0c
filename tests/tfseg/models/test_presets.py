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

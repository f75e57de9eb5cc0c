"""Kid-Net: the preset's count and its three resolutions."""

import keras
import numpy as np
import pytest

from tfseg.models import build, model_info


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("kidnet", *args, **options)


def test_preset():
    model = without_numbers((96, 96, 96, 1), 4, faithful=True)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    total = sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert (trainable, total) == (5_737_564, 5_741_980)
    assert [output.shape[1:] for output in model.outputs] == [
        (96, 96, 96, 4), (48, 48, 48, 4), (24, 24, 24, 4),
    ]  # fmt: skip
    assert model_info("kidnet").loss_weights[:3] == (1.0, 0.5, 0.25)


@pytest.mark.parametrize(("depth", "outputs"), [(2, 1), (3, 2), (4, 3), (6, 3)])
def test_three_outputs_as_far_as_the_decoder_goes(depth, outputs):
    model = without_numbers((None, None, 1), 2, base_filters=2, depth=depth)
    assert len(model.outputs) == outputs
    alone = without_numbers((None, None, 1), 2, base_filters=2, deep_supervision=False)
    assert len(alone.outputs) == 1


@pytest.mark.parametrize("rank", [2, 3])
def test_a_unit_adds_its_shortcut_before_the_activation(rank):
    model = build("kidnet", (4,) * rank + (1,), 2, base_filters=4, depth=2, norm="none")
    for number in (1, 2):
        layer = model.get_layer(f"encoder0_{number}_conv")
        layer.set_weights([weight * 0 for weight in layer.get_weights()])
    pair = [model.get_layer(name).output for name in ("encoder0_shortcut_conv", "encoder0_act")]
    x = np.random.default_rng(0).normal(size=(1, *(4,) * rank, 1)).astype(np.float32)
    shortcut, answer = (np.asarray(y) for y in keras.Model(model.input, pair)(x))
    np.testing.assert_allclose(answer, np.where(shortcut > 0, shortcut, 0.01 * shortcut), rtol=1e-6)

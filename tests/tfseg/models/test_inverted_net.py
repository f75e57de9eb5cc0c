"""InvertedNet, All-Dropout, All-Convolutional: published counts, poolings, noise."""

import keras
import numpy as np
import pytest

from tfseg.models import build, model_config


def without_numbers(*args, name, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build(name, *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("all_dropout", 4, 31_377_988),
        # Strided convolutions f -> f in place of poolings: 9 f^2 + f for 64, 128, 256, 512.
        ("all_convolutional", 4, 31_377_988 + 9 * (64**2 + 128**2 + 256**2 + 512**2) + 960),
        ("inverted_net", 3, 3_140_771),
        ("inverted_net", 4, 3_140_771 + 257),
    ],
)
def test_published_counts(name, classes, parameters):
    model = without_numbers((128, 128, 1), classes, name=name, faithful=True)
    assert model.output_shape == (None, 128, 128, classes)
    assert trainable(model) == parameters


def test_the_counts_as_published():
    assert 31_377_988 + 9 * (64**2 + 128**2 + 256**2 + 512**2) + 960 == 34_512_388
    assert 3_140_771 + 257 == 3_141_028
    assert 9.9 < 31_377_988 / 3_140_771 < 10.0


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", ["all_dropout", "all_convolutional", "inverted_net"])
def test_no_weights_go_into_upsampling(name, rank):
    model = without_numbers((32,) * rank + (1,), 2, name=name, depth=4)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert not any("Transpose" in kind for kind in kinds)
    halvings = 2 if name == "inverted_net" else 3
    assert kinds.count(f"UpSampling{rank}D") == halvings
    assert kinds.count(f"MaxPooling{rank}D") == (0 if name == "all_convolutional" else halvings)


def test_noise_after_every_convolution():
    model = without_numbers((32, 32, 1), 2, name="all_dropout", faithful=True)
    noise = [layer for layer in model.layers if type(layer).__name__ == "GaussianDropout"]
    assert len(noise) == 18
    assert model.get_layer("logits").input is model.get_layer("decoder0_2_dropout").output


@pytest.mark.parametrize(
    ("delayed", "grids", "divisor"),
    [(True, [32, 32, 16, 8, 4], 8), (False, [32, 16, 8, 4, 2], 16)],
)
def test_inverted_widths_and_delayed_pooling(delayed, grids, divisor):
    options = {"faithful": True, "delayed_pooling": delayed}
    model = without_numbers((32, 32, 1), 3, name="inverted_net", **options)
    maps = [model.get_layer(f"encoder{level}_2_act").output for level in range(5)]
    assert [x.shape[1] for x in maps] == grids
    assert [x.shape[-1] for x in maps] == [256, 128, 64, 32, 16]
    assert model_config("inverted_net", **options).divisor(2) == (divisor,) * 2


def test_widths_halve_down_to_the_least():
    config = model_config("inverted_net", finest_filters=40, coarsest_filters=12)
    assert [config.filters(level) for level in range(4)] == [40, 20, 12, 12]

"""An ensemble answers with its members' mean probabilities, also after saving."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tfseg.errors import ConfigError
from tfseg.models import build
from tfseg.models.ensemble import ensemble_of

UNET = {"base_filters": 4, "depth": 2}


def network(seed: int, name: str = "unet", shape: tuple[int, ...] = (16, 16, 2), **options: object):
    keras.utils.set_random_seed(seed)
    model = build(name, shape, 3, **options)
    rng = np.random.default_rng(seed)
    model.set_weights([value + 0.3 * rng.random(value.shape) for value in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("unet", (16, 16, 2), {**UNET, "norm": "batch", "deep_supervision": True}),
        ("unet", (8, 16, 16, 1), UNET),
        ("pspnet", (32, 32, 1), {"backbone": "resnet18", "base_filters": 4}),
    ],
)
def test_it_is_the_mean_of_its_members(
    tmp_path: Path, name: str, shape: tuple[int, ...], options: dict[str, object]
) -> None:
    members = [network(seed, name, shape, **options) for seed in range(3)]
    whole = ensemble_of(members, "ensemble")
    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    each = [keras.tree.flatten(member(image, training=False))[0] for member in members]
    expected = np.mean([softmax(np.asarray(one), axis=-1) for one in each], axis=0)
    for model in (whole, loaded):
        found = softmax(np.asarray(model(image, training=False)), axis=-1)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    one = ensemble_of(members[:1], "one")
    np.testing.assert_allclose(
        softmax(np.asarray(one(image)), axis=-1), softmax(np.asarray(each[0]), axis=-1), atol=1e-6
    )


def test_bad_input_to_ensembles() -> None:
    with pytest.raises(ConfigError, match="at least one member"):
        ensemble_of([], "none")
    with pytest.raises(ConfigError, match="one shape of input and output"):
        ensemble_of([network(0, **UNET), network(0, shape=(32, 32, 2), **UNET)], "two")
    detector = build("faster_rcnn", (32, 32, 1), 2, base_filters=4)
    with pytest.raises(ConfigError, match="a detector answers with objects"):
        ensemble_of([detector, detector], "detectors")

"""Every layer class comes back from a ``.keras`` file in safe mode and answers the same."""

import keras
import numpy as np
import pytest

import tfseg.layers
from tfseg.layers.norm import InstanceNormalization
from tfseg.layers.pooling import AdaptiveAveragePooling, AdaptiveMaxPooling
from tfseg.layers.resize import CropLike, LinearResize

CASES = {
    InstanceNormalization: lambda x, small: InstanceNormalization(epsilon=1e-3)(x),
    AdaptiveAveragePooling: lambda x, small: AdaptiveAveragePooling(3)(x),
    AdaptiveMaxPooling: lambda x, small: AdaptiveMaxPooling(3)(x),
    LinearResize: lambda x, small: LinearResize()([small, x]),
    CropLike: lambda x, small: CropLike()([x, small]),
}


def test_no_class_is_forgotten():
    classes = {
        value
        for module in (tfseg.layers.norm, tfseg.layers.pooling, tfseg.layers.resize)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    assert classes == set(CASES)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_round_trip(kind, rank, tmp_path):
    x, small = keras.Input((8,) * rank + (2,)), keras.Input((4,) * rank + (2,))
    model = keras.Model([x, small], CASES[kind](x, small))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    values = [rng.normal(size=(2, *(8,) * rank, 2)), rng.normal(size=(2, *(4,) * rank, 2))]
    values = [value.astype(np.float32) for value in values]

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert kind in {type(layer) for layer in again.layers}
    np.testing.assert_array_equal(again(values), model(values))

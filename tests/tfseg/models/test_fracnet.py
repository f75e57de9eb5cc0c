"""FracNet: the authors' count and layers."""

import keras
import numpy as np

from tfseg.models import build


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("fracnet", *args, **options)


def test_authors_form():
    model = without_numbers((64, 64, 64, 1), 1, faithful=True)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 1_401_377
    assert model.output_shape == (None, 64, 64, 64, 1)
    assert model.get_layer("encoder3_2_act").output.shape[1:] == (8, 8, 8, 128)


def test_every_convolution_but_the_last_is_normalised_and_has_no_bias():
    model = without_numbers((64, 64, 64, 1), 1, faithful=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv3D") == 8 + 6 + 1
    assert kinds.count("Conv3DTranspose") == 3
    assert kinds.count("BatchNormalization") == kinds.count("LeakyReLU") == 8 + 6 + 3
    biased = [layer.name for layer in model.layers if getattr(layer, "use_bias", False)]
    assert biased == ["logits"]

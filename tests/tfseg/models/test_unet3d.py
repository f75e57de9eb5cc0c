"""3D U-Net: the paper's figures, tiles that join, and the form that labels sulci."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build


def without_numbers(*args, name="unet3d", **options):
    with keras.StatelessScope(initialize_variables=False):
        return build(name, *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_published_size_and_count():
    """Figure 2 of the paper."""
    model = without_numbers((132, 132, 116, 3), 3, faithful=True)
    assert model.output_shape == (None, 44, 44, 28, 3)
    assert trainable(model) == 19_069_955


def test_what_the_published_count_counts():
    """Kernels, the last bias, and one number for each of the 2,336 normalised channels.

    Whether those are biases before the normalisation, which takes them away again, or shifts
    after it, as here, the number cannot tell. The factors would be 2,336 more.
    """
    pairs = [(3, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    pairs += [(256, 512)]
    for up, skip, out in ((512, 256, 256), (256, 128, 128), (128, 64, 64)):
        pairs += [(up + skip, out), (out, out)]
    deconvolutions = 8 * (512**2 + 256**2 + 128**2)
    kernels = sum(27 * ins * outs for ins, outs in pairs) + deconvolutions + 64 * 3
    channels = sum(outs for _, outs in pairs)
    assert (kernels + 3, channels) == (19_067_619, 2_336)
    assert kernels + 3 + channels == 19_069_955
    full = without_numbers((None,) * 3 + (3,), 3, faithful=True, norm="batch")
    assert trainable(full) == 19_069_955 + channels


def test_channels_double_before_each_pooling():
    model = without_numbers((None,) * 3 + (3,), 3, faithful=True)
    widths = [
        tuple(model.get_layer(f"encoder{level}_{n}_conv").filters for n in (1, 2))
        for level in range(4)
    ]
    assert widths == [(32, 64), (64, 128), (128, 256), (256, 512)]
    assert [model.get_layer(f"up{level}").filters for level in (2, 1, 0)] == [512, 256, 128]
    assert [model.get_layer(f"decoder{level}_2_conv").filters for level in (2, 1, 0)] == [
        256,
        128,
        64,
    ]


@pytest.mark.parametrize("size", range(88, 117))
def test_unpadded_sizes_are_92_and_multiples_of_8_more(size):
    shape = (size, 92, 92, 1)
    options = {"faithful": True, "base_filters": 1}
    if size in (92, 100, 108, 116):
        assert without_numbers(shape, 2, **options).output_shape[1] == size - 88
    else:
        fit = min(n for n in (92, 100, 108, 116) if n >= size)
        with pytest.raises(ConfigError, match=rf"got \({size}, 92, 92\)\. Use {fit} for {size}\."):
            without_numbers(shape, 2, **options)


def test_unpadded_tiles_join_without_a_seam():
    """Skips must be cropped exactly where the transposed convolutions lie."""
    keras.utils.set_random_seed(1)
    model = build("unet3d", (None,) * 3 + (1,), 2, faithful=True, base_filters=1)
    whole = np.random.default_rng(0).normal(size=(1, 100, 92, 92, 1)).astype(np.float32)
    full, part = model(whole), model(whole[:, 8:])
    assert (full.shape[1], part.shape[1]) == (12, 4)
    np.testing.assert_allclose(full[:, 8:], part, atol=1e-5)


def test_the_default_keeps_the_size():
    model = without_numbers((24, 32, 40, 1), 2)
    assert model.output_shape == (None, 24, 32, 40, 2)
    with pytest.raises(ConfigError, match=r"divisible by \(8, 8, 8\); got \(24, 32, 44\)"):
        without_numbers((24, 32, 44, 1), 2)


def test_the_form_that_labels_sulci():
    """64 channels, group normalisation, no weights in the upsampling: by hand."""
    model = without_numbers((None,) * 3 + (1,), 10, name="sulci_unet3d", faithful=True)
    pairs = [(1, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    pairs += [(512, 1024)]
    for up, skip, out in ((1024, 512, 512), (512, 256, 256), (256, 128, 128)):
        pairs += [(up + skip, out), (out, out)]
    by_hand = sum(27 * ins * outs + 2 * outs for ins, outs in pairs) + 128 * 10 + 10
    assert trainable(model) == by_hand
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("UpSampling3D") == 3
    assert kinds.count("GroupNormalization") == 14
    assert "Conv3DTranspose" not in kinds

"""MultiResUNet: the paper's totals, widths and paths, in both ranks."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, name="multiresunet", **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build(name, *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "rank", "channels", "total", "parameters"),
    [
        # Table of the paper; the rest are moving means and variances.
        ("multiresunet", 2, 3, 7_262_750, 7_238_228),
        ("multiresunet", 2, 1, 7_262_504, 7_237_982),
        ("multiresunet", 3, 4, 18_657_689, 18_633_167),
        ("multiresunet3d", 3, 4, 18_657_689, 18_633_167),
    ],
)
def test_published_counts(name, rank, channels, total, parameters):
    model = without_numbers((None,) * rank + (channels,), 1, name=name, faithful=True)
    assert model.count_params() == total
    assert trainable(model) == parameters


def test_widths_of_the_blocks():
    """U = 32 to 512; a block's are 0.167, 0.333 and 0.5 of 1.67 U, rounded down."""
    model = without_numbers((32, 32, 3), 1, faithful=True)
    layers = [model.get_layer(f"encoder{level}_scales") for level in range(5)]
    assert [layer.output.shape[-1] for layer in layers] == [51, 105, 212, 426, 853]
    parts = [model.get_layer(f"encoder0_{index}_conv").filters for index in (1, 2, 3)]
    assert parts == [8, 17, 26]


def test_the_finer_the_level_the_longer_its_path():
    names = [layer.name for layer in without_numbers((32, 32, 3), 1).layers]
    lengths = [
        sum(name.startswith(f"path{level}_") and name.endswith("_add") for name in names)
        for level in range(5)
    ]
    assert lengths == [4, 3, 2, 1, 0]


def test_norms_within_convolutions_only_shift():
    model = without_numbers((32, 32, 3), 1, faithful=True)
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    shifting = {layer.name for layer in norms if not layer.scale}
    assert shifting == {
        layer.name for layer in norms if layer.name.endswith("_conv_norm") or layer.name == "logits"
    }
    # Nine blocks and ten units with two norms each after sums and concatenations, save the units'
    # concatenation.
    assert len(norms) - len(shifting) == 9 * 2 + 10
    assert not any(layer.use_bias for layer in model.layers if type(layer).__name__ == "Conv2D")
    plain = without_numbers((32, 32, 3), 1).get_layer("logits")
    assert plain.use_bias

"""Global convolutional network: the paper's counts, field of the large kernel, sizes."""

import pytest
from kit import counted

from tfseg.models.cost import params


def head(classes, kernel=15, stages=(256, 512, 1024, 2048)):
    """Two paths of two long convolutions a stage, 9 refinements, 5 upsamplings without bias."""
    paths = sum(
        2 * (kernel * channels * classes + classes + kernel * classes**2 + classes)
        for channels in stages
    )
    return paths + 9 * 2 * (9 * classes**2 + classes) + 5 * 16 * classes**2


@pytest.mark.parametrize(("classes", "parameters"), [(2, 23_739_948), (21, 26_087_588)])
def test_paper_form(classes, parameters):
    model = counted("gcn", (512, 512, 3), classes, faithful=True)
    assert params(model) == 23_508_032 + head(classes) == parameters
    sizes = [model.get_layer(f"global{s}_sum").output.shape[1] for s in (4, 8, 16, 32)]
    assert sizes == [128, 64, 32, 16]
    assert model.output.shape == (None, 512, 512, classes)


@pytest.mark.parametrize("size", [(65, 33), (33, 40, 31)])
def test_any_size_fits(size):
    model = counted("gcn", (*size, 1), 3, base_filters=2)
    assert model.output.shape == (None, *size, 3)


def test_in_3d_three_long_kernels_follow_each_other():
    model = counted("gcn", (32, 32, 32, 1), 2, base_filters=2, kernel=5)
    forth = [model.get_layer(f"global4_forth_axis{axis}").kernel_size for axis in range(3)]
    assert forth == [(5, 1, 1), (1, 5, 1), (1, 1, 5)]
    back = model.get_layer("global4_back_axis2")
    assert back.input.shape[-1] == model.get_layer("global4_forth_axis0").input.shape[-1]

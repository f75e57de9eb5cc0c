"""The dilated FCN for lung disease: count, receptive field, resolution."""

import pytest
from kit import counted, field_of_view

from tfseg.models import build
from tfseg.models.cost import params

RATES = (1, 1, 2, 3, 5, 8, 13, 21, 34, 55)


def test_preset():
    """Ten layers without bias, gain and shift of each, and a classifier of all ten."""
    model = counted("dilated_fcn_ild", (512, 512, 1), 6, faithful=True)
    layers = 9 * 1 * 32 + 9 * (9 * 32 * 32) + 10 * 2 * 32
    assert params(model) == layers + 320 * 6 + 6 == 85_798
    assert model.get_layer("concat").output.shape == (None, 512, 512, 320)
    assert model.output.shape == (None, 512, 512, 6)


@pytest.mark.parametrize("size", [(301, 1), (1, 301)])
def test_receptive_field(size):
    """1 + 2 * sum of the rates, along each axis."""
    assert 1 + 2 * sum(RATES) == 287
    model = build("dilated_fcn_ild", (None, None, 1), 1, base_filters=1, norm="none", dropout=0)
    assert max(field_of_view(model, *size)) == 287


def test_receptive_field_in_3d():
    model = build(
        "dilated_fcn_ild", (None,) * 3 + (1,), 1, base_filters=1, norm="none", rates=(1, 2, 3)
    )
    assert field_of_view(model, 15, 17, 19) == (13, 13, 13)

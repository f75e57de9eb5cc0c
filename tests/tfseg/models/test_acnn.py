"""ACNN: the authors' counts, receptive field, full resolution."""

import pytest
from kit import counted, field_of_view

from tfseg.models import build
from tfseg.models.cost import params


@pytest.mark.parametrize(("blocks", "parameters"), [(5, 21_392), (10, 44_912), (16, 73_136)])
def test_paper_form(blocks, parameters):
    """A block: twice 16 * 16 * 9 + 16 of bias + 32 of the norm; the first sees one channel."""
    model = counted("acnn", (64, 64, 1), 2, faithful=True, blocks=blocks)
    first = (9 * 16 + 16 + 32) + (9 * 16 * 16 + 16 + 32)
    block = 2 * (9 * 16 * 16 + 16 + 32)
    assert (first + 16 * 2, block) == (2_576, 4_704)
    assert params(model) == 2_576 + (blocks - 1) * 4_704 == parameters
    shapes = {layer.output.shape[1:3] for layer in model.layers}
    assert shapes == {(64, 64)}


@pytest.mark.parametrize(("blocks", "size"), [(1, (21, 23)), (3, (41, 43)), (2, (19, 21, 23))])
def test_receptive_field(blocks, size):
    """Dilations 1 and 3: 2 + 6 voxels a block, and no gaps between them."""
    model = build("acnn", (None,) * len(size) + (1,), 1, base_filters=1, blocks=blocks, norm="none")
    assert field_of_view(model, *size) == (1 + 8 * blocks,) * len(size)

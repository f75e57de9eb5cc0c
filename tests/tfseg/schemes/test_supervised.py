"""Class frequencies of the training cases."""

import numpy as np

from tfseg.losses import build_loss, fill_frequencies, parse_loss, wants_frequencies
from tfseg.pipeline.cache import PreparedCase
from tfseg.schemes.supervised import class_frequencies


def case(counts, size):
    """A case with so many voxels of class 1, 2, ...; the rest of ``size`` is background."""
    label = np.zeros(size, np.uint8)
    start = 0
    for value, count in enumerate(counts, start=1):
        label[start : start + count] = value
        start += count
    return PreparedCase("a", np.zeros((1, 1, size, 1), np.float32), label.reshape(1, 1, size), {})


def test_by_hand():
    """100 and 300 voxels; class 1: 10 + 30, class 2: 50 in the first alone, class 3: nowhere."""
    share, within = class_frequencies([case((10, 50), 100), case((30,), 300)], 4)
    assert share == [310 / 400, 40 / 400, 50 / 400, 1 / 400]
    assert within == [310 / 400, 40 / 400, 50 / 100, 1 / 400]


def test_they_fill_what_is_not_given():
    text = "dice + 2*median_freq_ce - 0.5*exp_log(gamma_ce=1) + exp_log(frequencies=[1, 2])"
    assert wants_frequencies(text)
    assert not wants_frequencies("dice + ce")
    filled = fill_frequencies(text, (0.9, 0.1), (0.8, 0.3))
    assert not wants_frequencies(filled)
    assert [term.options.get("frequencies") for term in parse_loss(filled)] == [
        None,
        (0.8, 0.3),
        (0.9, 0.1),
        [1, 2],
    ]
    assert [term.weight for term in parse_loss(filled)] == [1, 2, -0.5, 1]
    build_loss(filled)

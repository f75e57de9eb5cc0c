"""Batches: patch numbers in order whatever the start and the threads."""

import time
from dataclasses import replace

import numpy as np
import pytest

from tfseg.pipeline.streams import batches, labelled
from tfseg.plan import Channel, Plan, Scale


class Numbered:
    """A sampler that answers with its index; some take longer."""

    has_map = False

    plan = Plan(
        dims=3,
        spacing_mm=None,
        patch_size=(2, 3, 4),
        batch_size=2,
        channels=(Channel(name="a", normalisation=Scale()),),
        labels=("background", "organ"),
    )

    def __call__(self, index):
        time.sleep(0.002 * (index % 3))
        return np.full((2, 3, 4, 1), index, np.float32), np.full((2, 3, 4), index % 256, np.uint8)


def steps_of(batch_size=4, **options):
    stream = replace(labelled(Numbered()), batch_size=batch_size)
    return batches({"labelled": stream, "again": replace(stream, batch_size=1)}, **options)


def numbers(name="labelled", **options):
    found = steps_of(**options)
    return [batch[name]["image"][:, 0, 0, 0, 0].numpy().tolist() for batch in found]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("first", [0, 3])
def test_step_s_holds_the_same_samples_whatever_comes_before(first, workers):
    steps = numbers(first_step=first, last_step=7, workers=workers)
    assert steps == [[4 * s, 4 * s + 1, 4 * s + 2, 4 * s + 3] for s in range(first, 7)]
    assert numbers("again", first_step=first, last_step=7) == [[s] for s in range(first, 7)]


def test_shapes_are_known():
    spec = steps_of(first_step=0, last_step=1).element_spec["labelled"]
    assert spec["image"].shape == (4, 2, 3, 4, 1)
    assert spec["label"].shape == (4, 2, 3, 4)
    assert (spec["image"].dtype, spec["label"].dtype) == ("float32", "uint8")


def test_nothing_is_left_to_tune():
    """The end of an iterator can wait for tf.data's tuner as long as the iterator lived."""
    assert steps_of(first_step=0, last_step=1).options().autotune.enabled is False

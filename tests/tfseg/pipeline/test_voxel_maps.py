"""Maps that a loss asks for: kept beside the prepared cases, cut with the patches."""

from dataclasses import replace

import numpy as np
import pytest

from tfseg.augmentation import AugmentationConfig
from tfseg.datasets import open_dataset
from tfseg.errors import DataError
from tfseg.pipeline.augment import _INTENSITY
from tfseg.pipeline.cache import PreparedCase, prepare_cases, with_voxel_maps
from tfseg.pipeline.patches import PatchSampler
from tfseg.pipeline.streams import batches, labelled
from tfseg.plan import Channel, Plan, Scale

STILL = AugmentationConfig(preset="none")


def plan(patch=(4, 5, 6)):
    return Plan(
        dims=len(patch),
        spacing_mm=None,
        patch_size=patch,
        batch_size=2,
        channels=(Channel(name="MR", normalisation=Scale()),),
        labels=("background", "organ"),
    )


@pytest.fixture
def cases(write_msd, tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (6, 8, 10)).astype(np.uint8)
    image = rng.normal(size=label.shape).astype(np.float32)
    dataset = open_dataset(write_msd([(image, label, (1.0, 1.0, 1.0))] * 2))
    return prepare_cases(dataset, dataset.cases, plan(), tmp_path / "cache")


def double(label):
    return 2.0 * label


def in_slices(label):
    assert label.ndim == 2
    return label + np.float32(label.sum())


def test_maps_are_made_once_and_kept(cases, tmp_path):
    made = []

    def counted(label):
        made.append(label.shape)
        return double(label)

    for _ in range(2):
        found = with_voxel_maps(cases, counted, "double", plan())
        for case in found:
            assert isinstance(case.voxel_map, np.memmap)
            assert case.voxel_map.dtype == np.float32
            np.testing.assert_array_equal(case.voxel_map, 2.0 * case.label)
    assert len(made) == 2
    with_voxel_maps(cases, counted, "double, otherwise", plan())
    assert len(made) == 4
    assert not list(tmp_path.rglob("*.partial"))


def test_a_2d_plan_maps_slices(cases):
    found = with_voxel_maps(cases, in_slices, "slices", plan((5, 6)))
    label = np.asarray(found[0].label)
    np.testing.assert_array_equal(found[0].voxel_map, label + label.sum((1, 2), keepdims=True))


def test_a_map_that_cannot_be_made_leaves_nothing(cases, tmp_path):
    def broken(label):
        raise DataError("no map today.")

    with pytest.raises(DataError, match="no map today"):
        with_voxel_maps(cases, broken, "broken", plan())
    assert not list(tmp_path.rglob("*map-*"))


def test_a_damaged_map_says_what_to_delete(cases):
    with_voxel_maps(cases, double, "double", plan())
    file = next(cases[0].folder.glob("map-*.npy"))
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match="is damaged"):
        with_voxel_maps(cases, double, "double", plan())


@pytest.mark.parametrize(
    "augmentation", [STILL, AugmentationConfig(), AugmentationConfig(preset="strong")]
)
@pytest.mark.parametrize("patch", [(4, 5, 6), (7, 6), (12, 12, 12)])
def test_the_map_goes_through_what_the_image_goes_through(augmentation, patch):
    """A map that equals the image stays equal to it, outside included."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(6, 9, 10)).astype(np.float32)
    label = rng.integers(0, 2, image.shape).astype(np.uint8)
    case = PreparedCase("a", image[..., np.newaxis], label, {}, voxel_map=image)
    quiet = augmentation.model_copy(update=dict.fromkeys(_INTENSITY, 0.0))
    draw = PatchSampler([case], plan(patch), quiet, 0.0, 0)
    without = PatchSampler([replace(case, voxel_map=None)], plan(patch), quiet, 0.0, 0)
    for index in range(30):
        found, labels, mapped = draw(index)
        np.testing.assert_array_equal(found[..., 0], mapped)
        # And asking for it changes nothing else.
        same = without(index)
        assert len(same) == 2
        np.testing.assert_array_equal(same[0], found)
        np.testing.assert_array_equal(same[1], labels)


def test_batches_bring_it(cases):
    found = with_voxel_maps(cases, double, "double", plan())
    sampler = PatchSampler(found, plan(), STILL, 0.5, 0)
    stream = replace(labelled(sampler), batch_size=2)
    batch = next(iter(batches({"labelled": stream}, first_step=0, last_step=1)))["labelled"]
    images, labels, maps = batch["image"], batch["label"], batch["voxel_map"]
    assert images.shape == (2, 4, 5, 6, 1)
    assert maps.shape == labels.shape == (2, 4, 5, 6)
    assert maps.dtype == "float32"
    np.testing.assert_array_equal(maps, 2.0 * labels.numpy())

"""Patches: pure functions of (seed, index), registered with their labels."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tfseg.augmentation import AugmentationConfig
from tfseg.errors import ConfigError
from tfseg.pipeline.augment import Box, _rotate
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.field import Field
from tfseg.pipeline.patches import PatchSampler
from tfseg.plan import Channel, Plan, Scale

OFF = AugmentationConfig(preset="none")


def plan(patch, spacing=None, channels=1):
    return Plan(
        dims=len(patch),
        spacing_mm=spacing,
        patch_size=patch,
        batch_size=1,
        channels=tuple(Channel(name=f"c{i}", normalisation=Scale()) for i in range(channels)),
        labels=("background", "a", "b"),
    )


def prepared(label, image=None, name="case"):
    image = np.random.default_rng(1).normal(size=label.shape) if image is None else image
    image = image.astype(np.float32)
    places = {
        value: np.argwhere(label == value).astype(np.int32)
        for value in (1, 2)
        if (label == value).any()
    }
    return PreparedCase(
        name, image if image.ndim == 4 else image[..., np.newaxis], label.astype(np.uint8), places
    )


def sampler(case, patch, augmentation=OFF, foreground=0.0, seed=0, spacing=None):
    cases = case if isinstance(case, list) else [case]
    wanted = plan(patch, spacing, cases[0].image.shape[-1])
    return PatchSampler(cases, wanted, augmentation, foreground, seed)


def turned_by(matrix):
    """A sampler whose map is given instead of drawn."""

    class Fixed(PatchSampler):
        def _field(self, streams):
            return Field(np.array(matrix, float))

    return Fixed


def numbered(*shape):
    """Every voxel of the image is its own number; the label is that number mod 3."""
    number = np.arange(np.prod(shape)).reshape(shape)
    return prepared(number % 3, number)


def test_the_same_index_gives_the_same_bytes_and_another_does_not():
    case = prepared(np.random.default_rng(0).integers(0, 3, (20, 20, 20)))
    draw = sampler(case, (8, 8, 8), AugmentationConfig(), 0.5)
    again = sampler(case, (8, 8, 8), AugmentationConfig(), 0.5)
    seen = set()
    for index in range(40):
        image, label = draw(index)
        same_image, same_label = again(index)
        assert (image.dtype, label.dtype) == (np.float32, np.uint8)
        assert (image.shape, label.shape) == ((8, 8, 8, 1), (8, 8, 8))
        assert image.flags.c_contiguous
        assert image.tobytes() == same_image.tobytes()
        assert label.tobytes() == same_label.tobytes()
        seen.add(image.tobytes())
    assert len(seen) == 40
    assert replace(draw, seed=1)(0)[0].tobytes() not in seen


def test_every_case_is_seen_once_a_pass():
    cases = [prepared(np.zeros((4, 4, 4)), np.full((4, 4, 4), i)) for i in range(5)]
    draw = sampler(cases, (4, 4, 4))
    order = [int(draw(index)[0][0, 0, 0, 0]) for index in range(50)]
    passes = [order[i : i + 5] for i in range(0, 50, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_patches_with_foreground(share):
    """One voxel in 48^3: a random 8^3 patch all but never holds it, a centred one always."""
    label = np.zeros((48, 48, 48))
    label[30, 17, 45] = 1
    draw = sampler(prepared(label), (8, 8, 8), foreground=share)
    held = [draw(index)[1].any() for index in range(400)]
    # Four standard deviations of a binomial of 400.
    assert np.mean(held) == pytest.approx(share, abs=0.1 if share == 0.5 else 0.03)


def test_rare_classes_are_drawn_as_often_as_common_ones():
    label = np.zeros((40, 40, 40))
    label[:, :, :12] = 1
    label[20, 20, 35] = 2
    draw = sampler(prepared(label), (6, 6, 6), foreground=1.0)
    assert np.mean([(draw(index)[1] == 2).any() for index in range(300)]) > 0.4


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_a_tiny_lesion_in_one_case_of_ten_has_its_share(share):
    """An organ in every case, a lesion of 20 voxels in one: half of the foreground patches."""
    organ = np.zeros((30, 30, 30))
    organ[:8] = 1
    ill = organ.copy()
    ill[20:22, 14:16, 10:15] = 2
    draw = sampler([*[prepared(organ)] * 9, prepared(ill)], (6, 6, 6), foreground=share)
    seen = np.mean([(draw(index)[1] == 2).any() for index in range(800)])
    # Of the rest, one in ten is of that case, and one in some ten of those meets it by chance.
    assert seen == pytest.approx(share / 2 + 0.01, abs=0.07)


def test_cases_take_turns_where_all_have_the_class():
    cases = [prepared(np.ones((4, 4, 4)), np.full((4, 4, 4), i)) for i in range(5)]
    draw = sampler(cases, (4, 4, 4), foreground=1.0)
    order = [int(draw(index)[0][0, 0, 0, 0]) for index in range(25)]
    assert all(sorted(order[i : i + 5]) == [0, 1, 2, 3, 4] for i in range(0, 25, 5))


def test_a_foreground_voxel_lands_in_the_middle_half():
    label = np.zeros((60, 60, 60))
    label[30, 30, 30] = 1
    draw = sampler(prepared(label), (16, 8, 4), foreground=1.0)
    where = np.array([np.argwhere(draw(index)[1])[0] for index in range(200)])
    assert where.min(0).tolist() == [4, 2, 1]
    assert where.max(0).tolist() == [11, 5, 2]


def test_a_plain_crop_is_a_slice():
    case = numbered(9, 10, 11)
    draw = sampler(case, (4, 5, 6))
    corners = set()
    for index in range(300):
        image, label = draw(index)
        z, y, x = np.unravel_index(int(image[0, 0, 0, 0]), (9, 10, 11))
        box = np.s_[z : z + 4, y : y + 5, x : x + 6]
        np.testing.assert_array_equal(image, case.image[box])
        np.testing.assert_array_equal(label, case.label[box])
        corners.add((z, y, x))
    # Every voxel can be in a patch: both ends of every axis are reached.
    assert np.min(list(corners), 0).tolist() == [0, 0, 0]
    assert np.max(list(corners), 0).tolist() == [5, 5, 5]


@pytest.mark.parametrize("matrix", [np.eye(3), np.eye(3) + 1e-12], ids=["crop", "map"])
def test_a_patch_larger_than_the_volume_is_padded_with_zero(matrix):
    case = prepared(np.ones((3, 4, 5)), 1 + np.random.default_rng(0).random((3, 4, 5)))
    draw = turned_by(matrix)([case], plan((6, 4, 8)), OFF, 0.5, 0)
    places = set()
    for index in range(60):
        image, label = draw(index)
        inside = np.argwhere(label)
        assert len(inside) == 60  # the whole volume, always
        (z, y, x) = inside.min(0)
        box = np.s_[z : z + 3, y : y + 4, x : x + 5]
        np.testing.assert_allclose(image[box], case.image, rtol=1e-6)
        assert np.count_nonzero(image) == 60
        places.add((z, y, x))
    assert len(places) > 4


def test_flips_turn_image_and_label_together():
    case = numbered(4, 4, 4)
    draw = sampler(case, (4, 4, 4), OFF.model_copy(update={"flip": "zx"}))
    seen = set()
    for index in range(60):
        image, label = draw(index)
        np.testing.assert_array_equal(label, image[..., 0] % 3)
        steps = (
            -1 if image[0, 0, 0, 0] > image[1, 0, 0, 0] else 1,
            -1 if image[0, 0, 0, 0] > image[0, 1, 0, 0] else 1,
            -1 if image[0, 0, 0, 0] > image[0, 0, 1, 0] else 1,
        )
        np.testing.assert_array_equal(image, case.image[:: steps[0], :: steps[1], :: steps[2]])
        seen.add(steps)
    assert seen == {(z, 1, x) for z in (1, -1) for x in (1, -1)}


def axis_rotation(draw, angles):
    class Drawn:
        def uniform(self, low, high, count):
            return np.array(angles, float)

    return _rotate(OFF, Box.of(draw.plan), Drawn())


@pytest.mark.parametrize(
    ("angles", "axes"), [((90, 0, 0), (1, 2)), ((0, 90, 0), (0, 2)), ((0, 0, 90), (0, 1))]
)
def test_a_quarter_turn_is_rot90(angles, axes):
    case = numbered(6, 6, 6)
    matrix = axis_rotation(sampler(case, (6, 6, 6)), angles)
    image, label = turned_by(matrix)([case], plan((6, 6, 6)), OFF, 0, 0)(0)
    turned = [np.rot90(case.image, k, axes) for k in (1, -1)]
    (match,) = [k for k, want in enumerate(turned) if np.allclose(image, want, atol=1e-3)]
    np.testing.assert_array_equal(label, np.rot90(case.label, (1, -1)[match], axes))


def test_rotation_is_in_millimetres():
    """45 degrees about z where x is half as fine as y: a circle in mm stays that circle."""
    y, x = np.meshgrid((np.arange(32) - 15.5) * 1.0, (np.arange(16) - 7.5) * 2.0, indexing="ij")
    disc = np.exp(-(x**2 + y**2) / 50)[np.newaxis].repeat(3, 0)
    case = prepared(disc > 0.5, disc)
    draw = sampler(case, (3, 32, 16), spacing=(1.0, 1.0, 2.0))
    matrix = axis_rotation(draw, (45, 0, 0))
    image, _ = turned_by(matrix)([case], draw.plan, OFF, 0, 0)(0)
    inside = x**2 + y**2 < 14**2
    np.testing.assert_allclose(image[1, ..., 0][inside], disc[1][inside], atol=0.04)


def test_image_and_label_stay_registered_through_every_transform():
    """A smooth image and its own threshold: after any turn, zoom and flip they still agree."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(40, 40, 40)), 3)
    smooth /= smooth.std()
    case = prepared(smooth > 0.5, smooth)
    strong = OFF.model_copy(
        update={"flip": "zyx", "rotation": 1.0, "rotation_degrees": 90.0, "scale": 1.0}
    )
    draw = sampler(case, (24, 24, 24), strong, spacing=(2.0, 1.0, 0.7))
    for index in range(8):
        image, label = draw(index)
        clear = np.abs(image[..., 0] - 0.5) > 0.4  # beyond what half a voxel changes
        clear &= image[..., 0] != 0
        assert clear.sum() > 1000
        assert np.mean((image[..., 0] > 0.5)[clear] == label[clear]) > 0.999


def test_2d_patches_are_pieces_of_slices():
    case = numbered(5, 12, 14)
    draw = sampler(case, (6, 8), AugmentationConfig(preset="none", flip="zyx"))
    slices = set()
    for index in range(60):
        image, label = draw(index)
        assert (image.shape, label.shape) == ((6, 8, 1), (6, 8))
        z = np.unique(image // (12 * 14))
        assert len(z) == 1
        slices.add(int(z[0]))
        np.testing.assert_array_equal(label, image[..., 0] % 3)
    assert slices == {0, 1, 2, 3, 4}


def test_2d_turns_and_zooms_stay_in_their_slice():
    volume = np.arange(5.0)[:, np.newaxis, np.newaxis] + np.ones((5, 30, 30))
    case = prepared(np.ones((5, 30, 30)), volume)
    strong = OFF.model_copy(
        update={"rotation": 1.0, "rotation_degrees": 180.0, "scale": 1.0, "scale_range": (0.5, 2.0)}
    )
    draw = sampler(case, (8, 8), strong)
    for index in range(40):
        values = set(np.unique(draw(index)[0])) - {0}
        assert len(values) == 1
        assert values <= {1, 2, 3, 4, 5}


def test_zoom_in_shows_less():
    """A factor of 2 makes a cube of 8 voxels 16 wide."""
    image = np.zeros((40, 40, 40))
    image[16:24, 16:24, 16:24] = 1
    case = prepared(image, image)
    twice = OFF.model_copy(update={"scale": 1.0, "scale_range": (2.0, 2.0)})
    _, label = sampler(case, (40, 40, 40), twice)(0)
    assert label.sum() == 16**3


def test_no_case_is_refused():
    with pytest.raises(ConfigError, match="there is no training case"):
        PatchSampler([], plan((4, 4, 4)), OFF, 0.5, 0)

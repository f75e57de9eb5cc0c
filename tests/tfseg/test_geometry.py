"""Affines against NumPy written out by hand, nibabel and SimpleITK."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfseg import geometry
from tfseg.errors import ConfigError, DataError

SHAPE = (4, 5, 6)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation about x, then y, then z, in radians."""
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_y) @ np.array(about_x)


def all_orientations() -> list[np.ndarray]:
    """The 48 signed permutations of three axes."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[list(order), range(3)] = signs
            found.append(matrix)
    return found


def test_lps_point_is_the_ras_point_with_two_signs_flipped() -> None:
    affine = geometry.affine_from_geometry((1, 1, 1), (1, 2, 3), np.eye(3)[:, ::-1])
    assert geometry.affine_to_ras_xyz(affine)[:3, 3].tolist() == [-1, -2, 3]


def test_affine_from_geometry_by_hand() -> None:
    # Array axis z runs to Left, y to Superior, x to Anterior.
    direction = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    affine = geometry.affine_from_geometry((5, 2, 3), (10, 20, 30), direction)
    assert (affine @ [1, 0, 0, 1])[:3].tolist() == [15, 20, 30]
    assert (affine @ [0, 1, 0, 1])[:3].tolist() == [10, 20, 32]
    assert (affine @ [0, 0, 1, 1])[:3].tolist() == [10, 17, 30]
    assert geometry.spacing_of(affine) == (5, 2, 3)
    assert geometry.orientation_code(affine) == "LSA"


@given(st.lists(st.floats(-400, 400), min_size=12, max_size=12))
def test_ras_conversion_is_its_own_way_back_to_the_last_bit(values: list[float]) -> None:
    affine = np.eye(4)
    affine[:3] = np.reshape(values, (3, 4))
    back = geometry.affine_to_ras_xyz(geometry.affine_from_ras_xyz(affine))
    assert np.array_equal(back, affine)


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.2, -0.3, 0.1)], ids=["upright", "oblique"])
def test_orientation_code_agrees_with_nibabel_for_all_48(turn: tuple[float, ...]) -> None:
    for matrix in all_orientations():
        affine = geometry.affine_from_geometry((3, 1, 2), (7, 8, 9), rotation(*turn) @ matrix)
        codes = nib.aff2axcodes(geometry.affine_to_ras_xyz(affine))
        assert geometry.orientation_code(affine) == "".join(reversed(codes))


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.2, -0.3, 0.1)], ids=["upright", "oblique"])
def test_canonical_keeps_every_voxel_in_its_place(turn: tuple[float, ...]) -> None:
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    for matrix in all_orientations():
        affine = geometry.affine_from_geometry((3, 1, 2), (7, 8, 9), rotation(*turn) @ matrix)
        way = geometry.to_orientation(affine)
        moved = way.apply(array)
        moved_affine = way.apply_affine(affine, SHAPE)
        assert geometry.orientation_code(moved_affine) == "SPL"
        assert np.array_equal(way.undo(moved), array)
        for index in ((0, 0, 0), (1, 2, 0), tuple(np.array(moved.shape) - 1)):
            source = np.argwhere(array == moved[index])[0]
            np.testing.assert_allclose(moved_affine @ [*index, 1], affine @ [*source, 1])


def test_all_48_orientations_as_nibabel_turns_them() -> None:
    array = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)
    affine = geometry.affine_from_geometry((3, 1, 2), (7, 8, 9), rotation(0.2, -0.3, 0.1))
    ras = geometry.affine_to_ras_xyz(affine)
    start = nib.orientations.io_orientation(ras)
    for matrix in all_orientations():
        code = geometry.orientation_code(
            geometry.affine_from_geometry((1, 1, 1), (0, 0, 0), matrix)
        )
        turn = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(code[::-1]))
        expected = nib.Nifti1Image(array.transpose(2, 1, 0), ras).as_reoriented(turn)
        way = geometry.to_orientation(affine, code)
        np.testing.assert_array_equal(way.apply(array).transpose(2, 1, 0), expected.dataobj)
        found = geometry.affine_to_ras_xyz(way.apply_affine(affine, SHAPE))
        np.testing.assert_allclose(found, expected.affine, atol=1e-9)


@pytest.mark.parametrize("code", ["", "SP", "SPLL", "SSL", "SAP", "spl", "XYZ"])
def test_no_other_orientation(code: str) -> None:
    with pytest.raises(ConfigError, match="one each of L and R"):
        geometry.to_orientation(np.eye(4), code)


def test_reorientation_leaves_the_channel_axis_alone() -> None:
    array = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    way = geometry.Reorientation((2, 0, 1), (True, False, True))
    assert way.apply(array).shape == (4, 2, 3, 2)
    assert np.array_equal(way.undo(way.apply(array)), array)
    assert np.array_equal(way.apply(array)[..., 1], way.apply(array[..., 1]))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda a: a[:3], "4x4 and finite"),
        (lambda a: a * np.nan, "4x4 and finite"),
        (lambda a: np.vstack([a[:3], [0, 0, 1, 1]]), "last row must be 0 0 0 1"),
        (lambda a: a * [0, 1, 1, 1], "singular"),  # a voxel of no size
        (lambda a: a[:, [0, 0, 2, 3]], "singular"),  # two axes in one direction
    ],
)
def test_check_affine_names_the_broken_rule(change: object, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        geometry.check_affine(change(np.eye(4)), "x")  # type: ignore[operator]


def test_same_grid_forgives_rounding_and_sees_a_shift() -> None:
    affine = geometry.affine_from_geometry((5, 0.7, 0.7), (-100.1234567, 3, 4), rotation(0.1, 0, 0))
    rounded = affine.astype(np.float32).astype(np.float64)
    assert geometry.same_grid(affine, rounded, (40, 512, 512))
    shifted = affine.copy()
    shifted[0, 3] += 0.05
    assert not geometry.same_grid(affine, shifted, (40, 512, 512))
    scaled = affine * [1, 1.001, 1, 1]  # 0.36 mm apart at the far end
    assert not geometry.same_grid(affine, scaled, (40, 512, 512))
    assert geometry.same_grid(affine, scaled, (40, 5, 5))

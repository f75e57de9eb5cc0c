"""What is written through SimpleITK is read back, by it and by our own readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tfseg.io import itk, read_volume
from tfseg.volume import Volume

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 2)])
def test_round_trip(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    direction = np.reshape(OBLIQUE, (3, 3))[:, ::-1]
    volume = Volume.from_geometry(array, (4, 0.7, 0.3), (1.5, -2, 3), direction)
    itk.write(volume, tmp_path / f"a{suffix}")
    again = read_volume(tmp_path / f"a{suffix}")
    assert np.array_equal(again.array, array)
    assert again.array.dtype == array.dtype
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    assert np.array_equal(sitk.GetArrayViewFromImage(image), array)
    np.testing.assert_allclose(image.GetDirection(), OBLIQUE, atol=1e-6)

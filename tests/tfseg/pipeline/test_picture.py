"""The picture of patches: the same place above and below, labels outlined."""

import numpy as np
import pytest
from PIL import Image

from tfseg.artifact import label_colour
from tfseg.augmentation import AugmentationConfig
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.patches import PatchSampler
from tfseg.pipeline.picture import PATCHES_FILE, write_patches
from tfseg.plan import Channel, Plan, Scale


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch", [(20, 80), (6, 20, 80)])
def test_patches_without_and_with_augmentation(tmp_path, patch, channels):
    label = np.zeros((6, 30, 90), np.uint8)
    label[3, 10:20, 30:60] = 1
    image = np.random.default_rng(0).normal(size=(*label.shape, channels)).astype(np.float32)
    case = PreparedCase("a", image, label, {1: np.argwhere(label).astype(np.int32)})
    plan = Plan(
        dims=len(patch), spacing_mm=None, patch_size=patch, batch_size=1, labels=("b", "a"),
        channels=tuple(Channel(name=f"{i}", normalisation=Scale()) for i in range(channels)),
    )  # fmt: skip
    for rule, same in (("none", True), ("strong", False)):
        sampler = PatchSampler([case], plan, AugmentationConfig(preset=rule), 1.0, 0)
        write_patches(sampler, tmp_path)
        picture = np.asarray(Image.open(tmp_path / PATCHES_FILE))
        assert picture.shape == (2 * 40 + 4, 6 * 160 + 5 * 4, 3)
        assert np.array_equal(picture[:40], picture[-40:]) == same
        tile = picture[:40, :160]
        drawn = (tile == label_colour(1)).all(-1)
        _, found = sampler(0)
        shown = found if len(patch) == 2 else found[np.argmax(found.sum((1, 2)))]
        if same and shown.any():
            rows, columns = np.nonzero(shown)
            edges = 2 * np.array([rows.min(), rows.max() + 1, columns.min(), columns.max() + 1])
            at = np.argwhere(drawn)
            np.testing.assert_array_equal(
                [at[:, 0].min(), at[:, 0].max() + 1, at[:, 1].min(), at[:, 1].max() + 1], edges
            )

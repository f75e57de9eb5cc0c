"""Several networks as one, against the mean taken by hand."""

import numpy as np
import pytest

from tests.backends import Answers
from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.inference.ensemble import EnsembleBackend, shared_plan
from tfseg.inference.predictor import Predictor
from tfseg.plan import Plan
from tfseg.volume import Volume


def manifest(**changes):
    plan = {
        "dims": 3,
        "spacing_mm": [1, 1, 1],
        "patch_size": [4, 4, 4],
        "batch_size": 2,
        "channels": [{"name": "CT", "normalisation": {"kind": "scale"}}],
        "labels": ["background", "organ"],
        **changes,
    }
    return Manifest(format="run", model="unet", plan=Plan.parse(plan, "test"))


def always(*probabilities):
    answer = np.array(probabilities, np.float32)
    return Answers(lambda batch: np.broadcast_to(answer, (*batch.shape[:-1], len(answer))))


def test_probabilities_are_averaged():
    members = [always(0.9, 0.1), always(0.2, 0.8), always(0.3, 0.7)]
    found = Predictor(EnsembleBackend(members), manifest()).predict(
        Volume.from_geometry(np.zeros((5, 6, 7))), probabilities=True
    )
    expected = np.broadcast_to([1.4 / 3, 1.6 / 3], (5, 6, 7, 2))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert found.labels.array.all()


def test_an_answer_is_not_changed_by_the_sum():
    kept = np.full((1, 4, 4, 4, 2), 0.5, np.float32)
    ensemble = EnsembleBackend([Answers(lambda batch: kept), always(0.9, 0.1)])
    ensemble(np.zeros((1, 4, 4, 4, 1), np.float32))
    assert (kept == 0.5).all()


def test_who_cannot_be_a_member():
    with pytest.raises(ConfigError, match="at least one member"):
        EnsembleBackend([])
    detector = always(0.5, 0.5)
    detector.finds_instances = True
    with pytest.raises(ConfigError, match="detectors draw label maps from the objects"):
        EnsembleBackend([always(0.5, 0.5), detector])


def test_members_share_one_plan():
    first = manifest()
    assert shared_plan([first, manifest(batch_size=4)]) == first.plan
    for field, value in (
        ("labels", ["background", "tumour"]),
        ("channels", [{"name": "T1", "normalisation": {"kind": "scale"}}]),
        ("patch_size", [4, 4, 8]),
        ("spacing_mm", [1, 1, 2]),
    ):
        rule = rf"must share one plan; {field} of member 1 and member 3 differ.*tfseg train --plan"
        with pytest.raises(ConfigError, match=rule):
            shared_plan([first, first, manifest(**{field: value})])

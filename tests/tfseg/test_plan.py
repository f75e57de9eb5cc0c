"""The plan as data: round trip, and one line for each broken rule."""

import json

import pytest

from tfseg.errors import ConfigError, DataError
from tfseg.plan import Channel, ClipZScore, Plan, Scale, ZScore

DOCUMENT = {
    "dims": 3,
    "spacing_mm": [2.5, 1, 1],
    "patch_size": [16, 32, 48],
    "batch_size": 2,
    "channels": [
        {"name": "CT", "unit": "HU", "normalisation": {"kind": "scale", "offset": 0, "scale": 9}}
    ],
    "labels": ["background", "liver"],
}


def with_value(**changes):
    return {**DOCUMENT, **changes}


def channel(**rule):
    return with_value(channels=[{"name": "CT", "normalisation": rule}])


@pytest.mark.parametrize(
    "rule", [ClipZScore(low=-100, high=200.5, mean=1 / 3, std=1e-3), ZScore(), Scale(scale=0.1)]
)
def test_round_trip_is_exact(tmp_path, rule):
    plan = Plan(
        dims=2,
        spacing_mm=(0.1, 1 / 3),
        patch_size=(8, 16),
        batch_size=4,
        channels=(Channel(name="a", normalisation=rule), Channel(name="b", normalisation=rule)),
        labels=("background", "é"),
        overlap=0.3,
    )
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_what_it_derives():
    plan = Plan.parse(DOCUMENT, "p")
    assert plan.num_classes == 2
    assert plan.target_spacing((5, 0.7, 0.7)) == (2.5, 1, 1)
    flat = Plan.parse(with_value(dims=2, spacing_mm=[0.5, 0.6], patch_size=[8, 8]), "p")
    assert flat.target_spacing((5, 0.7, 0.7)) == (5, 0.5, 0.6)
    own = Plan.parse(with_value(spacing_mm=None), "p")
    assert own.target_spacing((5, 0.7, 0.8)) == (5, 0.7, 0.8)


def test_it_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Plan.parse(DOCUMENT, "p").batch_size = 3


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (with_value(dims=4), r"dims: Input should be 2 or 3; got 4"),
        (with_value(patch_size=[8, 8]), r"patch_size must have dims=3 entries; got \(8, 8\)"),
        (with_value(spacing_mm=[1, 1]), r"spacing_mm must have dims=3 entries; got \(1.0, 1.0\)"),
        (with_value(spacing_mm=[1, 0, 1]), r"spacing_mm.1: .*greater than 0; got 0"),
        (with_value(spacing_mm=[1, float("nan"), 1]), r"spacing_mm.1: .*; got nan"),
        (with_value(patch_size=[8, 8, 0]), r"patch_size.2: .*greater than or equal to 1; got 0"),
        (with_value(patch_size=[8, 8, 9999]), r"patch_size.2: .*less than or equal to 4096"),
        (with_value(patch_size=[8, 8, 8.5]), r"patch_size.2: .*integer.*; got 8.5"),
        (with_value(batch_size=0), r"batch_size: .*; got 0"),
        (with_value(labels=["liver"]), r"labels: .*at least 2"),
        (with_value(labels=["a", "b", "a"]), r"labels must have different names; got \('a', 'b'"),
        (with_value(channels=[]), r"channels: .*at least 1"),
        (with_value(overlap=1), r"overlap: .*less than or equal to 0.9; got 1"),
        (with_value(overlap=-0.1), r"overlap: .*greater than or equal to 0; got -0.1"),
        (with_value(patchsize=1), r"patchsize: Extra inputs are not permitted; got 1"),
        (with_value(orientation="RAS"), r"orientation: .*'SPL'; got 'RAS'"),
        (with_value(version=2), r"version: .*1; got 2"),
        (channel(kind="minmux"), r"kind.* 'minmux'"),
        (channel(kind="scale", scale=0), r"scale.scale: .*greater than 0; got 0"),
        (
            channel(kind="clip_zscore", low=5, high=5, mean=0, std=1),
            r"low must be below high; got 5.0 and 5.0",
        ),
        (channel(kind="clip_zscore", low=0, high=5, mean=0), r"clip_zscore.std: Field required"),
        ([], r"document: .*dictionary"),
    ],
)
def test_broken_rules_are_named_in_one_line(document, message):
    with pytest.raises(ConfigError, match=rf"plan\.json is no valid plan: .*{message}") as caught:
        Plan.parse(document, "plan.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_files_that_are_no_plan(tmp_path):
    path = tmp_path / "plan.json"
    with pytest.raises(DataError, match="the plan is missing: there is no file"):
        Plan.load(path)
    path.write_text('{"dims": 3,')
    with pytest.raises(DataError, match=r"the plan is not valid JSON: .*plan\.json: line 1"):
        Plan.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"the plan is not valid JSON: .* save it as UTF-8"):
        Plan.load(path)


def test_a_saved_plan_can_be_read_by_people(tmp_path):
    Plan.parse(DOCUMENT, "p").save(tmp_path / "plan.json")
    document = json.loads((tmp_path / "plan.json").read_text())
    assert document["spacing_mm"] == [2.5, 1, 1]
    assert "\n  " in (tmp_path / "plan.json").read_text()

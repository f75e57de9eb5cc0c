"""Steps as part of the plan: round trip, old plans, and one line for each broken rule."""

import json

import pytest

from tfseg.errors import ConfigError
from tfseg.plan import WINDOWS_HU, Channel, Plan, Window
from tfseg.steps import KINDS, BiasField, Clahe, Clip, HistMatch, Median

ZSCORE = {"kind": "zscore"}


def document(*steps, rule=ZSCORE, **changes):
    channel = {"name": "MR", "steps": list(steps), "normalisation": rule}
    return {
        "dims": 3,
        "spacing_mm": None,
        "patch_size": [8, 8, 8],
        "batch_size": 1,
        "channels": [channel],
        "labels": ["background", "one"],
        **changes,
    }


def test_round_trip_keeps_the_order(tmp_path):
    steps = (
        Clip(low=0, high=4095),
        BiasField(order=4),
        HistMatch(percentiles=(0, 50, 100), landmarks=(0, 1 / 3, 1)),
        Median(size_vox=(3, 3, 1)),
    )
    channel = Channel(name="MR", steps=steps, normalisation=ZSCORE)
    plan = Plan.parse({**document(), "channels": [channel]}, "p")
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert Plan.load(tmp_path / "plan.json").channels[0].steps == steps


def test_plans_from_before_there_were_steps():
    old = document()
    del old["channels"][0]["steps"]
    assert Plan.parse(json.loads(json.dumps(old)), "old").channels[0].steps == ()


def test_kinds_are_the_names_in_plans():
    assert set(KINDS) == {
        "clip", "percentile_clip", "gaussian", "median", "nlm",
        "hist_equalise", "clahe", "hist_match", "bias_field",
    }  # fmt: skip


def test_windows_have_names():
    assert Window(preset="rib") == Window(low=-200, high=1000)
    for name, (low, high) in WINDOWS_HU.items():
        made = Plan.parse(document(rule={"kind": "window", "preset": name}), "p")
        rule = made.model_dump()["channels"][0]["normalisation"]
        assert rule == {"kind": "window", "low": low, "high": high}


def test_constants_within_the_unit_range_are_fine_after_equalisation():
    window = {"kind": "window", "low": 0.1, "high": 1}
    plan = Plan.parse(document({"kind": "clahe"}, rule=window), "p")
    assert plan.channels[0].steps == (Clahe(),)
    matched = {"kind": "hist_match", "percentiles": [1, 99], "landmarks": [0, 100]}
    wide = {"kind": "window", "low": 0, "high": 100}
    assert Plan.parse(document({"kind": "clahe"}, matched, rule=wide), "p")


CT = {"kind": "clip_zscore", "low": -100, "high": 300, "mean": 90, "std": 40}
MARKS = {"kind": "hist_match", "percentiles": [1, 50, 99]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (document({"kind": "clahee"}), r"channels.0.steps.0: .*'clahe'.*got .*clahee"),
        (document({"kind": "clip", "low": 3, "high": 3}), "low must be below high; got 3.0 and 3"),
        (document({"kind": "clip", "low": 3}), r"clip.high: Field required"),
        (document({"kind": "percentile_clip", "high": 101}), "less than or equal to 100; got 101"),
        (document({"kind": "gaussian", "sigma_vox": [0, 0, 0]}), r"must be above 0 along an axis"),
        (document({"kind": "gaussian", "sigma_vox": [0, 9, 0]}), "less than or equal to 8; got 9"),
        (document({"kind": "gaussian", "sigma_vox": [1, 1]}), r"sigma_vox.2: Field required"),
        (document({"kind": "median", "size_vox": [1, 4, 3]}), "1, 3 or 5; got 4"),
        (document({"kind": "median", "size_vox": [1, 1, 1]}), "must be 3 or 5 along an axis"),
        (document({"kind": "nlm", "strength": 0}), "greater than 0; got 0"),
        (document({"kind": "hist_equalise", "levels": 1}), "greater than or equal to 2; got 1"),
        (document({"kind": "clahe", "tiles": 99}), "less than or equal to 32; got 99"),
        (document({"kind": "clahe", "clip_limit": 0.01}), "greater than or equal to 1; got 0.01"),
        (document({"kind": "bias_field", "order": 9}), "less than or equal to 5; got 9"),
        (document({"kind": "clahe", "tile": 9}), "tile: Extra inputs are not permitted; got 9"),
        (document({"kind": "hist_match"}), "must have landmarks, learnt by `tfseg plan DATA"),
        (document({**MARKS, "landmarks": [1, 2]}), r"as many as percentiles \(3\); got 2"),
        (document({**MARKS, "landmarks": [1, 0, 2]}), r"must not decrease.*got \(1.0, 0.0, 2.0\)"),
        (document({**MARKS, "landmarks": [1, 1, 1]}), "not be all alike"),
        (document({**MARKS, "percentiles": [9, 9]}), r"must increase; got \(9.0, 9.0\)"),
        (document({"kind": "clahe"}, rule=CT), "must have low and high within 0 and 1"),
        (
            document({"kind": "gaussian", "sigma_vox": [1, 1, 1]}, dims=2, patch_size=[8, 8]),
            "2D plan must not look along z",
        ),
        (
            document({"kind": "median", "size_vox": [3, 1, 1]}, dims=2, patch_size=[8, 8]),
            "size_vox to 1",
        ),
        (
            document(rule={"kind": "window", "preset": "lungs"}),
            "preset must be one of liver, .*lung",
        ),
        (document(rule={"kind": "window", "preset": "lung", "low": 0}), "preset must come alone"),
    ],
)
def test_broken_rules_are_named_in_one_line(bad, message):
    with pytest.raises(ConfigError, match=rf"plan\.json is no valid plan: .*{message}") as caught:
        Plan.parse(bad, "plan.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400

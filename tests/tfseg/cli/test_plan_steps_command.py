"""``tfseg plan --step``: steps with what they learn from the data, and bad ones refused."""

import json
import re

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.plan import Plan, Scale, ZScore
from tfseg.preprocess import normalise
from tfseg.steps import Clahe, HistMatch


@pytest.fixture
def data(write_msd):
    rng = np.random.default_rng(0)
    label = np.zeros((6, 20, 24), np.uint8)
    label[2:4, 5:15, 5:15] = 1
    # Two scanners: the second multiplies by 3 and adds 40.
    images = [rng.gamma(2, 100, label.shape) for _ in range(2)]
    images[1] = images[1] * 3 + 40
    return write_msd([(image.astype(np.int16), label, (4.0, 1.0, 1.0)) for image in images])


def test_without_steps_the_plan_is_as_before(data, capsys):
    assert run(["plan", str(data)]) == 0
    (channel,) = json.loads(capsys.readouterr().out)["channels"]
    assert channel["steps"] == []
    assert channel["normalisation"]["kind"] == "clip_zscore"


def test_steps_are_kept_in_order_and_landmarks_learnt(data, tmp_path, capsys):
    out = tmp_path / "plan.json"
    clip = '{"kind": "percentile_clip", "low": 0.1, "high": 99.9}'
    assert run(["plan", str(data), "--step", clip, "--step", "hist_match", "-o", str(out)]) == 0
    assert capsys.readouterr().out == ""
    plan = Plan.load(out)
    (channel,) = plan.channels
    first, match = channel.steps
    assert (first.low, first.high) == (0.1, 99.9)
    assert isinstance(match, HistMatch)
    assert match.landmarks[0] == 0
    assert match.landmarks[-1] == 100
    # HU are no more: each volume by its own mean and deviation.
    assert (channel.normalisation, channel.unit) == (ZScore(), "arbitrary")

    # The scanners' difference is gone, the noise of two small images is left.
    dataset = open_dataset(data)
    shares = (5, 25, 50, 75, 95)
    apart = {}
    for name, steps in (("raw", ()), ("matched", channel.steps)):
        alone = channel.model_copy(update={"steps": steps, "normalisation": Scale()})
        first, second = (
            np.percentile(normalise(dataset.load_image(case).channel_last(), [alone]), shares)
            for case in dataset.labelled
        )
        apart[name] = np.abs(first - second).max() / np.ptp(first)
    assert apart["raw"] > 1
    assert apart["matched"] < 0.05


def test_steps_that_keep_the_unit_keep_the_constants(data, capsys):
    assert run(["plan", str(data), "--step", "median", "--step", "bias_field"]) == 0
    plan = Plan.parse(json.loads(capsys.readouterr().out), "stdout")
    assert [step.kind for step in plan.channels[0].steps] == ["median", "bias_field"]
    assert plan.channels[0].normalisation.kind == "clip_zscore"
    assert run(["plan", str(data), "--step", '{"kind": "clahe", "tiles": 4}']) == 0
    plan = Plan.parse(json.loads(capsys.readouterr().out), "stdout")
    assert plan.channels[0].steps == (Clahe(tiles=4),)
    assert plan.channels[0].normalisation == ZScore()


BAD = {
    "unknown": (["--step", "clahee"], "'clahe'"),
    "no JSON": (["--step", '{"kind": clahe}'], "--step is no valid JSON"),
    "no kind": (["--step", '{"tiles": 4}'], "kind"),
    "setting missing": (["--step", "clip"], "0.clip.low: Field required"),
    "setting unknown": (["--step", '{"kind": "clahe", "tile": 4}'], "tile: Extra inputs are not"),
    "number as text": (["--step", '{"kind": "clahe", "tiles": "many"}'], "tiles: .*got 'many'"),
    "tiles": (["--step", '{"kind": "clahe", "tiles": 0}'], "tiles: .*greater than or equal to 1"),
    "endless": (
        ["--step", '{"kind": "clip", "low": -1e999, "high": 0}'],
        "the number -1e999 is too large",
    ),
    "beyond float32": (["--step", '{"kind": "clip", "low": 0, "high": 1e39}'], r"got 1e\+39"),
    "second of two": (["--step", "nlm", "--step", '{"kind": "nlm", "strength": 9}'], "1.nlm"),
    "2D along z": (
        ["--dims", "2", "--step", '{"kind": "gaussian", "sigma_vox": [1, 0, 0]}'],
        "2D plan must not look along z",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_steps(data, tmp_path, capsys, name):
    arguments, rule = BAD[name]
    before = sorted(tmp_path.rglob("*"))
    code = run(["plan", str(data), *arguments, "-o", str(tmp_path / "plan.json")])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    (line,) = captured.err.splitlines()
    assert re.search(rule, line)
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_input_constant_image_where_landmarks_are_learnt(write_msd, tmp_path, capsys):
    label = np.zeros((4, 8, 8), np.uint8)
    label[1:3, 2:6, 2:6] = 1
    data = write_msd([(np.full((4, 8, 8), 7, np.int16), label, (1.0, 1.0, 1.0))])
    before = sorted(tmp_path.rglob("*"))
    assert run(["plan", str(data), "--step", "hist_match", "-o", str(tmp_path / "p.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hist_match learns landmarks from images that are not constant" in line
    assert "all of channel CT above its mean is 7. Remove" in line
    assert sorted(tmp_path.rglob("*")) == before

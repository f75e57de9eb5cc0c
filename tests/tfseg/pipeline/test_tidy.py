"""What prepared volumes there are, which runs use them, and removing them."""

import json

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.locks import locked
from tfseg.pipeline.cache import prepare_cases
from tfseg.plan import Channel, Plan, Scale
from tfseg.runs import CACHE


def make_plan(scale):
    return Plan(
        dims=3,
        spacing_mm=(1, 1, 1),
        patch_size=(4, 4, 4),
        batch_size=1,
        channels=(Channel(name="CT", normalisation=Scale(scale=scale)),),
        labels=("background", "organ"),
    )


@pytest.fixture
def runs(write_msd, tmp_path):
    """Two caches beside the runs: two runs share the first, and none uses the second."""
    label = np.ones((4, 4, 4), np.uint8)
    dataset = open_dataset(write_msd([(label.astype(np.int16), label, (1, 1, 1))] * 3))
    runs = tmp_path / "runs"
    for scale in (1, 2):
        prepare_cases(dataset, dataset.cases, make_plan(scale), runs / CACHE)
    for name in ("a", "b"):
        (runs / name).mkdir()
        make_plan(1).save(runs / name / "plan.json")
        (runs / name / "config.json").write_text(json.dumps({"data": str(dataset.root)}))
    (runs / "latest").symlink_to("b")
    (runs / "broken").mkdir()
    (runs / "broken" / "config.json").write_text("[")
    return runs


def cache(capsys, runs, *words):
    assert run(["cache", "--runs", str(runs), "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)["caches"]
    return {tuple(one["runs"]): one for one in found}


def test_the_list_names_the_runs(capsys, runs):
    found = cache(capsys, runs)
    assert set(found) == {("a", "b"), ()}
    for one in found.values():
        assert one["cases"] == 3
        assert one["bytes"] > 3 * 4**3 * 5  # float32 and uint8 of every voxel
        assert not one["removed"]
    assert run(["cache", "--runs", str(runs)]) == 0
    assert "2 caches" in capsys.readouterr().out


def test_what_no_run_uses_is_removed(capsys, runs):
    found = cache(capsys, runs, "--unused")
    assert {users: one["removed"] for users, one in found.items()} == {("a", "b"): False, (): True}
    assert set(cache(capsys, runs)) == {("a", "b")}
    cache(capsys, runs, "--clear")
    assert list((runs / CACHE).iterdir()) == []


def test_what_is_in_use_is_left(capsys, runs):
    with locked(runs / "b"):
        found = cache(capsys, runs, "--clear")
    assert {users: one["removed"] for users, one in found.items()} == {("a", "b"): False, (): True}


def test_no_folder_of_runs(capsys, tmp_path):
    assert run(["cache", "--runs", str(tmp_path / "none")]) == 2
    assert "none is no folder of runs. Name one with --runs." in capsys.readouterr().err

"""The benchmark that trains networks for the same time: what it does without training."""

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tfseg.errors import ConfigError
from tfseg.models import MODELS

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks/ten_minutes.py"
HISTORY = """\
step,epoch,seconds,loss,learning_rate,val_dice,val_dice_a
10,1,30.0,1.5,0.001,,
20,2,40.0,1.4,0.0009,,
30,3,75.0,1.3,0.0008,0.5,0.5
40,4,87.0,1.2,0.0007,,
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("ten_minutes_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def row(network="unet", **changes):
    values = {
        "network": network,
        "data": "drive",
        "family": "U-shape",
        "parameters": 1_942_790,
        "patch_size": [192, 192],
        "batch_size": 4,
        "steps": 1200,
        "seconds_per_step": 0.5,
        "dice": 0.7512,
        "lost": [],
        "peak_rss_mib": 1454,
        "cpu_share": 0.98,
        "settings": {"time_budget": "10m", "cores": 2, "seed": 0},
    }
    return {**values, **changes}


def test_at_least_sixteen_networks_of_all_families_that_have_one_network(script):
    names = [name for networks in script.NETWORKS.values() for name in networks]
    assert len(set(names)) == len(names) >= 16
    families = {MODELS[name].family for name in names}
    assert families >= {
        "U-shape", "dense U-shape", "3D U-shape", "FCN", "pyramid", "index unpooling", "cascade",
        "2.5D",
    }  # fmt: skip
    for data, rank in (("hippocampus", 3), ("drive", 2)):
        assert all(rank in MODELS[name].dims for name in script.NETWORKS[data])


def test_the_pace_leaves_out_the_first_epoch_and_validations(script, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(HISTORY, encoding="utf-8")
    # 10 s and 12 s for ten steps; 30 s built the graph, 35 s held a validation.
    assert script.pace(path) == (40, 1.1)


def test_the_pace_of_a_single_epoch_is_all_there_is(script, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("".join(HISTORY.splitlines(keepends=True)[:2]), encoding="utf-8")
    assert script.pace(path) == (10, 3.0)


def test_the_table_has_the_best_first_and_names_lost_classes(script):
    rows = [
        row(dice=0.2, lost=["vessel"], steps=99),
        row("gcn", dice=0.3),
        row("vnet", data="hippocampus"),
    ]
    lines = script.table(rows)
    assert [line.split("`")[1] for line in lines[2:]] == ["vnet", "gcn", "unet"]
    assert lines[-1] == (
        "| `unet` | U-shape | DRIVE, 2D | 0.200 | 1.94 M | 0.50 | 99 | 1.4 GiB "
        "| never found: vessel; few steps |"
    )


def test_finished_rows_are_kept_and_others_refused(script, tmp_path):
    path = tmp_path / "rows.jsonl"
    settings = script.Settings("10m", 2)
    assert script.finished(path, settings) == []
    path.write_text(json.dumps(row()) + "\n", encoding="utf-8")
    assert script.finished(path, settings) == [row()]
    with pytest.raises(ConfigError, match=r"same settings; .*'10m'.* given are .*'20s'"):
        script.finished(path, script.Settings("20s", 2))
    assert asdict(settings) == row()["settings"]


def test_the_data_sets_take_turns(script):
    pairs = script.chosen(None)
    assert [data for _, data in pairs[:4]] == ["hippocampus", "drive"] * 2
    assert script.chosen("unet,vnet") == [("unet", "drive"), ("vnet", "hippocampus")]
    with pytest.raises(ConfigError, match="'unett'"):
        script.chosen("unet,unett")


def test_a_machine_with_other_work_is_refused(script, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (1.7, 0.0, 0.0))
    with pytest.raises(ConfigError, match=r"load at most 0\.5.*1\.7"):
        script.check_idle(busy=False)
    script.check_idle(busy=True)
    monkeypatch.setattr("os.getloadavg", lambda: (0.2, 9.0, 9.0))
    script.check_idle(busy=False)

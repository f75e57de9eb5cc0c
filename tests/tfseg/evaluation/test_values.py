"""Predictions in a data set's own values are mapped, and never misread."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.io import write_volume
from tfseg.volume import Volume


def save(path: Path, values: list[int], kind: type = np.uint8) -> None:
    array = np.repeat(np.array(values, kind), 8).reshape(len(values), 2, 4)
    write_volume(Volume.from_geometry(array), path)


@pytest.mark.parametrize(
    ("declared", "found", "dice"),
    [
        ((10, 20), [[0, 10, 20], [0, 0, 20]], 1.0),  # stored values
        ((10, 20), [[0, 1, 2], [0, 0, 2]], 1.0),  # classes
        ((2, 4), [[0, 2, 4], [0, 0, 4]], 1.0),
        ((2, 4), [[0, 1, 2], [0, 0, 2]], 1.0),
        ((2, 4), [[0, 0, 2], [0, 0, 2]], None),  # 2 is class 1 or class 2
        ((2, 4), [[0, 0, 30], [0, 0, 2]], None),  # and neither fits all
        ((10, 20), [[0, 30, 20], [0, 0, 20]], None),
    ],
)
def test_values_are_classes_or_the_files_own(declared, found, dice, tmp_path, capsys):
    data = tmp_path / "data"
    for name, values in (("a", (0, 10, 20)), ("b", (0, 0, 20))):
        own = [{0: 0, 10: declared[0], 20: declared[1]}[value] for value in values]
        save(data / f"labels/{name}.nii.gz", own)
        save(data / f"images/{name}.nii.gz", [1, 2, ord(name)], np.int16)
    lines = ["value,name", "0,background", f"{declared[0]},one", f"{declared[1]},two"]
    (data / "labels.csv").write_text("\n".join(lines))
    for name, values in zip("ab", found, strict=True):
        save(tmp_path / f"found/{name}.nii.gz", values)
    code = run(["evaluate", str(tmp_path / "found"), "--data", str(data), "--json"])
    captured = capsys.readouterr()
    if dice is None:
        assert code != 0
        assert "2" in captured.err
        return
    document = json.loads(captured.out)
    assert (code, document["mean_dice"]) == (0, dice)
    mapped = max(found[0]) == declared[1]
    assert [f"{declared[0]} for class 1" in one for one in document["remarks"]] == [True] * mapped

"""Protocols and metrics that cannot be had, asked for on the command line."""

import numpy as np
import pytest

from tfseg.cli.main import run

SPACING = (3.0, 1.0, 1.0)


@pytest.fixture
def folders(write_msd, tmp_path):
    """A data set of one organ and its own labels as predictions."""
    label = np.zeros((6, 8, 8), np.uint8)
    label[1:5, 2:6, 2:6] = 1
    root = write_msd([(label.astype(np.float32), label, SPACING)])
    return root, root / "labelsTr", tmp_path / "out"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--protocol", "brats"], ("brats needs the labels 0 to 4", "oedema", "has 0 to 1")),
        (["--protocol", "lits"], ("lits needs the labels 0 to 2", "2 tumour", "--regions")),
        (["--protocol", "kits"], ("kits needs the labels 0 to 2", "1 kidney", "--regions")),
        (["--protocol", "acdc"], ("acdc needs the labels 0 to 3", "3 left ventricle")),
        (["--protocol", "brats2020"], ("unknown protocol 'brats2020'", "Did you mean brats")),
        (["--protocol", "LITS"], ("unknown protocol 'LITS'", "Did you mean lits")),
        (["--metrics", "lesion_sensitivity"], ("'lesion_sensitivity'", "lesion_sens")),
        (["--metrics", "dice,auc_rco"], ("'auc_rco'", "auc_roc")),
        (["--metrics", "auc_roc"], ("auc_roc", "--save-probabilities")),
        (["--metrics", "otsu_dice"], ("otsu_dice", "--save-probabilities")),
        (["--metrics", "froc"], ("single cases", "froc")),
        (["--metrics", "ef"], ("single cases", "ef")),
        (["--metrics", "promise_score"], ("single cases", "promise_score")),
        (["--metrics", "bland_altman"], ("single cases", "bland_altman")),
        (["--metrics", "macs"], ("single cases", "macs", "network")),
    ],
)
def test_bad_input_protocol_or_metric(arguments, parts, folders, tmp_path, capfd):
    data, predictions, out = folders
    before = sorted(tmp_path.rglob("*"))
    code = run(["evaluate", str(predictions), "--data", str(data), "-o", str(out), *arguments])
    stdout, stderr = capfd.readouterr()
    assert code == 2
    assert stdout == ""
    assert len(stderr.splitlines()) == 1, stderr
    for part in parts:
        assert part in stderr
    assert sorted(tmp_path.rglob("*")) == before

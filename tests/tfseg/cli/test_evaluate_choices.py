"""``tfseg evaluate``: metrics, regions, protocols, probabilities, comparison, many at a time."""

import json
from pathlib import Path

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.io import write_volume
from tfseg.metrics.challenges import PROTOCOLS
from tfseg.volume import Volume

NAMES = ("background", "liver", "tumour", "third", "fourth")
SPACING = (2.0, 1.0, 1.0)
CASES = 7


def label_map(number: int, shift: int = 0) -> np.ndarray:
    """A box of label 1 with boxes of 2, 3 and 4 in it, ``shift`` columns to the right."""
    label = np.zeros((6, 14, 20), np.uint8)
    label[1:5, 2:12, 2:14] = 1
    label[2:4, 3 : 5 + number % 3, 3:6] = 2
    label[2:4, 3:5, 8:10] = 3
    label[2:4, 8:10, 8:10] = 4
    return np.roll(label, shift, axis=2)


@pytest.fixture
def data(write_msd) -> Path:
    """Seven cases, case_0 to case_6; the image is the label map."""
    cases = [(label_map(n).astype(np.float32), label_map(n), SPACING) for n in range(CASES)]
    return write_msd(cases, labels=NAMES)


def write_predictions(folder: Path, shift: int) -> Path:
    """Label maps of all cases: case n is ``shift`` columns too far right, odd ones one more."""
    for n in range(CASES):
        shifted = label_map(n, shift + n % 2)
        write_volume(Volume.from_geometry(shifted, SPACING), folder / f"case_{n}.nii.gz")
    return folder


@pytest.fixture
def near(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "near", 0)


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "far", 2)


def save_probabilities(folder: Path, likely=None) -> None:
    for n in range(CASES):
        of_case = np.eye(5, dtype=np.float32)[label_map(n)] if likely is None else likely
        np.savez_compressed(folder / f"case_{n}.npz", probabilities=of_case)


def evaluate(capsys, *arguments) -> dict:
    assert run(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_metrics_by_name(data, near, tmp_path, capsys):
    out = tmp_path / "out"
    names = "hausdorff,pixel_acc,lesion_f1"
    document = evaluate(capsys, near, "--data", data, "--metrics", names, "-o", out)
    assert document["metrics"] == [
        "dice",
        "hausdorff",
        "lesion_f1",
        "reference_ml",
        "prediction_ml",
    ]
    row = {row["case"]: row for row in document["per_case"]}["case_1"]
    assert row["scores"]["liver"]["hausdorff"] == 1.0  # one column
    # 240 voxels of label 1 and more in the boxes; each row of a box moves one voxel in, one out.
    wrong = np.count_nonzero(label_map(1) != label_map(1, 1))
    assert row["image"]["pixel_acc"] == pytest.approx(1 - wrong / label_map(1).size)
    header = (out / "cases.csv").read_text().splitlines()[0]
    assert header == "case,class,dice,hausdorff,lesion_f1,reference_ml,prediction_ml"
    assert run(["evaluate", str(near), "--data", str(data), "--metrics", "all"]) == 0
    table = capsys.readouterr().out
    for part in ("mcc", "volume_diff ml", "sa %", "lesion_sens", "pixel_acc"):
        assert part in table
    assert "auc_roc" not in table


def test_regions_are_measured_beside_the_classes(data, near, capsys):
    document = evaluate(
        capsys, near, "--data", data, "--regions", "all=1+2+3+4,core=3+fourth", "--metrics", "dice"
    )
    assert list(document["classes"]) == [*NAMES[1:], "all", "core"]
    row = {row["case"]: row["scores"] for row in document["per_case"]}["case_1"]
    # A block of 12 columns, one column apart; two boxes of 2, one column apart.
    assert row["all"]["dice"] == pytest.approx(11 / 12)
    assert row["core"]["dice"] == pytest.approx(1 / 2)


def test_rules_change_what_an_absent_class_scores(data, tmp_path, capsys):
    predictions = tmp_path / "p"
    for n in range(CASES):
        label = label_map(n)
        label[label == 4] = 0
        write_volume(Volume.from_geometry(label, SPACING), predictions / f"case_{n}.nii.gz")
    found = {}
    for rule in ("nan", "inf", "diag"):
        document = evaluate(capsys, predictions, "--data", data, "--empty-distance", rule)
        assert document["options"]["empty_distance"] == rule
        assert document["classes"]["fourth"]["only_reference"] == CASES
        found[rule] = document["classes"]["fourth"]["metrics"]["hd95"]
    assert (found["nan"]["n"], found["nan"]["undefined"]) == (0, CASES)
    assert (found["inf"]["n"], found["inf"]["infinite"]) == (CASES, CASES)
    assert found["diag"]["mean"] == pytest.approx(np.linalg.norm([6 * 2, 14, 20]))
    assert run(["evaluate", str(predictions), "--data", str(data)]) == 0
    table = capsys.readouterr().out
    assert "missed" in table
    assert "hd95 7" in " ".join(table.split())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_measures_its_regions(name, data, near, tmp_path, capsys):
    out = tmp_path / "out"
    document = evaluate(capsys, near, "--data", data, "--protocol", name, "-o", out)
    protocol = PROTOCOLS[name]
    assert document["protocol"] == name
    assert list(document["classes"])[: len(protocol.regions)] == list(protocol.regions)
    assert set(document["metrics"]) == set(protocol.columns)
    assert document["cases"] == CASES
    assert (out / "evaluation.html").is_file()
    assert run(["evaluate", str(near), "--data", str(data), "--protocol", name]) == 0
    assert f"by the protocol {name}" in capsys.readouterr().out


def test_figures_over_all_cases_are_not_means(data, near, capsys):
    overall = evaluate(capsys, near, "--data", data, "--protocol", "lits")["overall"]
    both = [(np.isin(label_map(n), (1, 2)), np.isin(label_map(n, n % 2), (1, 2))) for n in range(7)]
    common = sum(np.count_nonzero(a & b) for a, b in both)
    size = sum(np.count_nonzero(a) + np.count_nonzero(b) for a, b in both)
    assert overall["liver_dice_global"] == pytest.approx(2 * common / size)
    kits = evaluate(capsys, near, "--data", data, "--protocol", "kits")
    dice = [kits["classes"][name]["metrics"]["dice"]["mean"] for name in ("kidney", "tumour")]
    assert kits["overall"]["kits_composite"] == pytest.approx(np.mean(dice))


def test_saved_probabilities_are_measured(data, near, capsys):
    save_probabilities(near)
    arguments = (near, "--data", data, "--metrics", "auc_roc,auc_pr", "--regions", "any=1+2+3+4")
    document = evaluate(capsys, *arguments)
    for name in (*NAMES[1:], "any"):
        assert document["classes"][name]["metrics"]["auc_roc"]["mean"] == 1.0
    save_probabilities(near, np.full((*label_map(0).shape, 5), 0.2, np.float32))
    document = evaluate(capsys, *arguments)
    assert document["classes"]["tumour"]["metrics"]["auc_roc"]["mean"] == 0.5
    assert "auc_pr" in evaluate(capsys, near, "--data", data, "--metrics", "all")["metrics"]


def test_a_case_without_its_probabilities_fails_alone(data, near, capsys):
    save_probabilities(near)
    (near / "case_3.npz").unlink()
    arguments = ["evaluate", str(near), "--data", str(data), "--metrics", "auc_roc", "--json"]
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["cases"] == CASES - 1
    assert f"failed: there is no {near / 'case_3.npz'}" in captured.err
    # Nobody asked for them here.
    assert evaluate(capsys, near, "--data", data)["cases"] == CASES


def test_two_folders_are_compared_case_by_case(data, near, far, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = (near, "--data", data, "-o", out)
    comparison = evaluate(capsys, *arguments, "--against", far)["comparison"]
    assert comparison == json.loads((out / "comparison.json").read_text())
    assert (comparison["this"], comparison["other"]) == (str(near), str(far))
    assert comparison["cases"] == CASES
    assert comparison["mean_dice"]["better"] == "this"
    distance = comparison["differences"]["liver"]["hd95"]
    assert distance["better"] == "this"
    # Nobody wins over himself; and what was compared before is gone with its evaluation.
    arguments = (*arguments, "--overwrite")
    assert run(["evaluate", *map(str, arguments), "--against", str(near)]) == 0
    table = capsys.readouterr().out
    assert f"Paired over 7 cases: this ({near}) less other ({near})" in table
    assert "mean of classes" in table
    evaluate(capsys, *arguments)
    assert not (out / "comparison.json").exists()


def test_figures_of_another_day_are_compared_without_predicting_again(
    data, near, far, tmp_path, capsys
):
    evaluate(capsys, far, "--data", data, "-o", tmp_path / "figures")
    saved = tmp_path / "figures/metrics.json"
    by_file = evaluate(capsys, near, "--data", data, "--against", saved)["comparison"]
    by_folder = evaluate(capsys, near, "--data", data, "--against", far)["comparison"]
    assert by_file["differences"] == by_folder["differences"]


def test_cases_of_one_side_only_are_named(data, near, far, capsys):
    (near / "case_0.nii.gz").unlink()
    (far / "case_6.nii.gz").unlink()
    assert run(["evaluate", str(near), "--data", str(data), "--against", str(far)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "only in this: case_6" in printed
    assert "only in other: case_0" in printed


def test_a_case_that_fails_on_the_other_side_ends_with_1_too(data, near, far, capsys):
    (far / "case_4.nii.gz").write_bytes(b"no label map")
    arguments = ["evaluate", str(near), "--data", str(data), "--against", str(far), "--json"]
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["comparison"]["only_this"] == ["case_4"]
    assert f"{far}: failed: " in captured.err
    assert "1 of 14 cases could not be evaluated: case_4" in captured.err


def test_the_number_of_jobs_changes_no_byte(data, far, tmp_path):
    written = []
    for jobs in ("1", "4"):
        out = tmp_path / jobs / "out"
        arguments = ["evaluate", str(far), "--data", str(data), "-o", str(out), "--jobs", jobs]
        assert run(arguments) == 0
        # The page says by which command it was made.
        page = (out / "evaluation.html").read_bytes()
        assert b"tfseg evaluate" in page
        page = page.replace(str(out).encode(), b"OUT").replace(f"--jobs {jobs}".encode(), b"")
        written.append({**tree(out), "evaluation.html": page})
    assert written[0] == written[1]
    worst = [row["case"] for row in json.loads(written[0]["metrics.json"])["per_case"][:3]]
    assert sorted(written[0]) == [
        "cases.csv",
        "evaluation.html",
        "metrics.json",
        *(f"pictures/{rank}-{case}.png" for rank, case in enumerate(worst, start=1)),
        "summary.csv",
    ]


def test_a_scan_that_cannot_be_read_costs_its_picture_alone(data, near, tmp_path, capsys):
    (data / "imagesTr/case_1.nii.gz").write_bytes(b"no scan")
    out = tmp_path / "out"
    assert run(["evaluate", str(near), "--data", str(data), "-o", str(out)]) == 0
    assert "no picture of case_1" in capsys.readouterr().err
    assert len(list((out / "pictures").iterdir())) == 2


def test_an_interrupted_evaluation_leaves_nothing(data, near, tmp_path, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfseg.evaluation.runner.evaluate_case", interrupt)
    out = tmp_path / "out"
    assert run(["evaluate", str(near), "--data", str(data), "-o", str(out)]) == 130
    assert not out.exists()


# -- bad input: exit code 2, one line with the rule and the value, nothing left on disk --------


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--metrics", "dise"], ("unknown metric 'dise'", "Did you mean dice")),
        (["--metrics", "froc"], ("metrics of single cases", "froc")),
        (["--metrics", ","], ("--metrics needs names", "','")),
        (["--metrics", "auc_roc"], ("auc_roc", "probabilities", "--save-probabilities")),
        (["--regions", "whole=1+5"], ("'whole'", "1 liver, 2 tumour", "'5'")),
        (["--regions", "whole"], ("NAME=1+2", "'whole'")),
        (["--regions", "tumour=2"], ("a name of its own", "'tumour'")),
        (["--tolerance", "wide"], ("--tolerance", "length in mm", "'wide'")),
        (["--tolerance", "-1"], ("0 mm or more", "-1.0")),
        (["--tolerance", "nan"], ("0 mm or more", "nan")),
        (["--tolerance", "1,2"], ("--tolerance", "which are 4", "got 2")),
        (["--protocol", "lit"], ("unknown protocol 'lit'", "Did you mean lits")),
        (["--protocol", "lits", "--metrics", "dice"], ("a protocol fixes", "--metrics")),
        (["--protocol", "kits", "--hd-mode", "pooled"], ("a protocol fixes", "--hd-mode")),
        (["--hd-mode", "mean"], ("--hd-mode", "'mean'", "max", "pooled")),
        (["--empty-distance", "0"], ("--empty-distance", "'0'", "diag")),
        (["--jobs", "0"], ("--jobs", "0")),
        (["--against", "nowhere"], ("there is no nowhere",)),
        (["--against", "nowhere.json"], ("metrics file is missing", "nowhere.json")),
    ],
)
def test_bad_input_options(options, parts, data, near, tmp_path, capsys):
    refused([near, "--data", data, "-o", tmp_path / "out", *options], capsys, *parts)
    assert not (tmp_path / "out").exists()


def refused(arguments: list, capsys, *parts: str) -> None:
    assert run(["evaluate", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1, captured.err
    for part in parts:
        assert part in captured.err


def test_bad_input_protocol_of_other_labels(write_msd, near, tmp_path, capsys):
    two = write_msd([(label_map(0), np.minimum(label_map(0), 1), SPACING)] * 2, name="two")
    refused(
        [near, "--data", two, "--protocol", "lits", "-o", tmp_path / "out"],
        capsys, "the protocol lits needs the labels 0 to 2", "has 0 to 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"no archive", ("case_0.npz", "NumPy archive")),
        ({"scores": np.zeros((6, 14, 20, 5), np.float32)}, ("an array 'probabilities'",)),
        ({"probabilities": np.zeros((6, 14, 20), np.float32)}, ("(z, y, x, class)", "(6, 14, 20)")),
        ({"probabilities": np.zeros((6, 14, 20, 4), np.float32)}, ("5)", "(6, 14, 20, 4)")),
        ({"probabilities": np.zeros((6, 14, 20, 5), np.int16)}, ("floats", "int16")),
        ({"probabilities": np.full((6, 14, 20, 5), np.nan, "f4")}, ("finite", "NaN")),
        ({"probabilities": np.array([{}])}, ("case_0.npz", "NumPy archive")),
    ],
    ids=["bytes", "name", "rank", "classes", "integers", "nan", "objects"],
)
def test_bad_input_probabilities(content, parts, data, near, tmp_path, capsys):
    for n in range(1, CASES):
        (near / f"case_{n}.nii.gz").unlink()
    if isinstance(content, bytes):
        (near / "case_0.npz").write_bytes(content)
    else:
        np.savez(near / "case_0.npz", **content)
    arguments = [near, "--data", data, "--metrics", "auc_roc", "-o", tmp_path / "out"]
    refused(arguments, capsys, "case_0", *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--tolerance", "2"], ("by the same rules", "tolerance_mm is 1.0 here and 2.0 in")),
        (["--hd-mode", "pooled"], ("by the same rules", "hd_mode is max here and pooled in")),
        (["--protocol", "lits"], ("by the same rules", "protocol is None here and lits in")),
    ],
)
def test_bad_input_comparison_by_other_rules(options, parts, data, near, far, tmp_path, capsys):
    evaluate(capsys, far, "--data", data, "-o", tmp_path / "figures", *options)
    against = ["--against", tmp_path / "figures/metrics.json"]
    refused([near, "--data", data, "-o", tmp_path / "out", *against], capsys, *parts)
    assert not (tmp_path / "out").exists()


def test_bad_input_comparison_of_other_cases(data, near, far, capsys):
    for n in range(CASES):
        (near if n % 2 else far).joinpath(f"case_{n}.nii.gz").unlink()
    refused(
        [near, "--data", data, "--against", far],
        capsys, "needs cases that both have", "case_0, case_2, case_4, ...", "case_1, case_3",
    )  # fmt: skip


def test_bad_input_comparison_with_an_old_document(data, near, tmp_path, capsys):
    (tmp_path / "old.json").write_text('{"version": 1}')
    refused(
        [near, "--data", data, "--against", tmp_path / "old.json"],
        capsys, "no valid metrics file", "version", "tfseg evaluate",
    )  # fmt: skip

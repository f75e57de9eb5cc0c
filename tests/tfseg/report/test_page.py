"""The report page: complete, self-contained, escaped; damaged files are named."""

import json
import math
from pathlib import Path

import pytest

from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg.errors import DataError
from tfseg.evaluation import CaseResult, Metrics, save_metrics, summarise
from tfseg.plan import Channel, Plan, ZScore
from tfseg.report import History, curves_png, write_report

HISTORY = """step,epoch,seconds,loss,learning_rate,val_dice,val_dice_organ
50,1,12.5,0.9,0.001,,
100,2,25.25,0.6,0.0005,0.4,0.4
150,3,3725,0.5,0,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_folder = tmp_path / "unet-1"
    run_folder.mkdir()
    plan = Plan(
        dims=3,
        spacing_mm=(2.5, 1.0, 1.0),
        patch_size=(16, 32, 32),
        batch_size=2,
        channels=(Channel(name="MR", normalisation=ZScore()),),
        labels=("background", "organ"),
    )
    Manifest(format="run", model="unet", plan=plan).save(run_folder, "manifest.json")
    return run_folder


def fill(folder: Path, case: str = "scan_1") -> None:
    (folder / "history.csv").write_text(HISTORY)
    (folder / "config.json").write_text(json.dumps({"data": "d", "augmentation": {"flip": "zyx"}}))
    values = dict.fromkeys(("dice", "jaccard", "reference_ml", "prediction_ml"), 0.75)
    scores = {"organ": {**values, "hd95": math.nan}}
    results = [CaseResult(case, scores)]
    save_metrics(
        Metrics(data="D", source="fold 0", distance_unit="mm", **summarise(results)), folder
    )


def test_the_page_holds_everything_in_itself(folder, read_page):
    fill(folder)
    (folder / "pictures").mkdir()
    (folder / "pictures/1-scan_1.png").write_bytes(curves_png(History({"step": [1], "loss": [1]})))
    page = read_page(write_report(folder))
    assert len(page.sources) == 2  # the curves and the picture
    assert page.links == []
    text = (folder / "report.html").read_text()
    for part in (
        "unet-1", "mean foreground Dice", "1 h 02 min", "16 x 32 x 32 voxels", "2.5 x 1 x 1 mm",
        "augmentation.flip", "scan_1", "Worst cases",
    ):  # fmt: skip
        assert part in text
    means = "Mean and standard deviation over the cases"
    figures = dict(zip(page.tables[means][0], page.tables[means][1], strict=True))
    assert figures["Dice"] == "0.750"
    assert figures["Predicted volume (ml)"] == "0.75"
    assert figures["HD95 (mm)"] == "–1 undefined"
    assert page.row("Dice of every case and class", "scan_1") == ["0.750", "0.750"]


def test_the_evaluations_page_is_named_where_there_is_one(folder, read_page):
    fill(folder)
    (folder / "evaluation.html").write_text("")
    assert read_page(write_report(folder)).links == ["evaluation.html"]


def test_a_run_that_has_only_begun_has_a_page_too(folder, read_page):
    text = write_report(folder).read_text()
    assert read_page(folder / "report.html").sources == []
    assert "Not measured yet" in text


def test_a_history_without_validation_is_drawn(folder, read_page):
    (folder / "history.csv").write_text("step,loss\n50,0.9\n")
    assert len(read_page(write_report(folder)).sources) == 1


def test_texts_are_escaped(folder, read_page):
    evil = "<script>alert(1)</script>"
    fill(folder, case=evil)
    (folder / "config.json").write_text(json.dumps({evil: "<img src=x onerror=y>"}))
    read_page(write_report(folder))
    assert "&lt;script&gt;" in (folder / "report.html").read_text()


def test_photographs_have_pixels_not_millimetres(folder):
    fill(folder)
    document = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**document, "distance_unit": "px"}))
    assert "HD95 (px)" in write_report(folder).read_text()


def test_writing_twice_gives_the_same_page(folder):
    fill(folder)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_history_columns(folder):
    fill(folder)
    history = History.load(folder / "history.csv")
    assert history.points("val_dice") == ([100.0], [0.4])
    assert history.last("seconds") == 3725.0
    assert history.last("val_dice_organ") == 0.4
    assert history.last("absent") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a column 'step'"),
        ("step,epoch\n1,2\n", "needs a column 'loss'"),
        ("step,loss\n1\n", "line 2: needs 2 cells, as the header has; got 1"),
        ("step,loss\n1,0.5\n2,low\n", "line 3, loss: must be a number or empty; got 'low'"),
    ],
)
def test_damaged_histories_are_named(folder, text, message):
    (folder / "history.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        write_report(folder)


# -- through the command line ------------------------------------------------------------------


def test_the_command_prints_the_path(folder, capsys):
    assert run(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("metrics.json", "{", ("the metrics file is not valid JSON", "line 1")),
        ("metrics.json", "{}", ("no valid metrics file", "data", "tfseg evaluate")),
        ("metrics.json", "[]", ("no valid metrics file", "got []")),
        ("manifest.json", "{", ("the manifest is not valid JSON",)),
        ("manifest.json", '{"format": "run"}', ("no valid manifest", "model")),
        ("config.json", "nothing", ("the configuration is not valid JSON",)),
        ("history.csv", "step,loss\nx,1\n", ("must be a number or empty", "'x'")),
        ("history.csv", b"\xff\xfe", ("the history cannot be read",)),
    ],
)
def test_bad_input_damaged_files(name, content, parts, folder, capsys):
    fill(folder)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run(["report", str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert name in captured.err
    for part in parts:
        assert part in captured.err
    assert not (folder / "report.html").exists()


def test_bad_input_no_run_folder(tmp_path, capsys):
    for folder, part in ((tmp_path / "gone", "no run folder"), (tmp_path, "manifest is missing")):
        assert run(["report", str(folder)]) == 2
        error = capsys.readouterr().err
        assert part in error
        assert str(folder) in error
        assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_input_no_argument(capsys):
    assert run(["report"]) == 2
    assert "Missing argument 'RUN'" in capsys.readouterr().err

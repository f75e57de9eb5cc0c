"""``tfseg models``."""

import json
import subprocess
import sys

import pytest

from tfseg.cli.main import run
from tfseg.models import MODELS, PRESETS


def test_json_lists_every_network(capsys):
    assert run(["models", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert [entry["name"] for entry in document] == [*MODELS, *PRESETS]
    unet = document[0]
    keys = {"name", "kind", "family", "dims", "parameters", "output_stride", "paper"}
    assert set(unet) == keys
    preset = document[-1]
    assert set(preset) == {*keys, "network", "options", "settings"}
    assert preset["kind"] == "preset"
    assert preset["network"] in MODELS
    assert unet["output_stride"] == 1
    assert unet["dims"] == [2, 3]
    assert unet["parameters"] == {"2d": 5_685_446, "3d": 16_544_518}
    assert unet["paper"] == "Ronneberger et al. 2015, arXiv:1505.04597"


def test_the_table_names_them(capsys):
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    for part in ("unet", "pspnet", "2D 5.7 M", "pyramid"):
        assert part in out


def test_one_network_in_detail(capsys):
    assert run(["models", "unet"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("unet: U-shape, 2D with 5,685,446 parameters and 3D with 16,544,518")
    for part in ("arXiv:1505.04597", "Use: ", "base_filters", "deep_supervision", "star_fcn"):
        assert part in out
    assert "``" not in out


def test_what_of_a_network_is_ours_is_said(capsys):
    assert run(["models", "kidnet"]) == 0
    out = capsys.readouterr().out
    assert "chosen here: widths and the weights of the outputs." in out


def test_a_preset_in_detail_shows_its_network(capsys):
    assert run(["models", "focal_fcn"]) == 0
    out = capsys.readouterr().out
    assert "A preset of fcn8s, which is:" in out
    assert "focal(gamma" in out


def test_detail_as_json(capsys):
    assert run(["models", "focal_fcn", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert document["network"] == "fcn8s"
    assert document["settings"] == {"loss": "focal(gamma=2)"}
    assert "focal_fcn" in document["presets"]
    widths = next(option for option in document["all_options"] if option["name"] == "base_filters")
    assert widths["default"] == 32
    assert widths["faithful"] == 64


@pytest.mark.parametrize("arguments", [["unett"], ["unett", "--json"]])
def test_bad_input_unknown_network(arguments, capsys):
    assert run(["models", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "unknown model 'unett'. Did you mean unet" in captured.err


def test_detail_imports_no_tensorflow():
    code = "import sys; from tfseg.cli.main import run; run(['models', 'pspnet'])\n"
    code += "sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0

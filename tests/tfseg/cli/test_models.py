"""``tfseg models``."""

import json

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

"""``tfseg models``."""

import json

from tfseg.cli.main import run
from tfseg.models import MODELS


def test_json_lists_every_network(capsys):
    assert run(["models", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert [entry["name"] for entry in document] == list(MODELS)
    unet = document[0]
    assert set(unet) == {"name", "family", "dims", "parameters", "output_stride", "paper"}
    assert unet["output_stride"] == 1
    assert unet["dims"] == [2, 3]
    assert unet["parameters"] == {"2d": 5_685_446, "3d": 16_544_518}
    assert unet["paper"] == "Ronneberger et al. 2015, arXiv:1505.04597"


def test_the_table_names_them(capsys):
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    for part in ("unet", "pspnet", "2D 5.7 M", "pyramid"):
        assert part in out

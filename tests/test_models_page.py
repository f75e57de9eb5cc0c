"""The page of networks: descriptions, drawings and the benchmark's table are current."""

import importlib.util
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tfseg.models import MODELS, PRESETS, describe
from tfseg.models.describe import describe_all

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def load(path):
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawer():
    return load(ROOT / "docs/draw_families.py")


@pytest.fixture(scope="module")
def families(drawer):
    return json.loads(drawer.FAMILIES.read_text(encoding="utf-8"))


def test_stored_options_are_the_codes():
    stored = json.loads((ROOT / "tfseg/models/options.json").read_text(encoding="utf-8"))
    assert stored == describe_all(), "run: python docs/make_models.py"


@pytest.mark.parametrize("name", MODELS)
def test_every_network_says_what_it_is_for_and_what_its_options_are(name):
    assert MODELS[name].use
    assert not MODELS[name].use.endswith(".")
    description = describe(name)
    assert description.about
    assert description.options
    assert [option.name for option in description.options if not option.what] == []


def test_options_as_the_paper_has_them():
    # By hand, from Ronneberger et al. 2015: 64 to 1024 channels, unpadded, no normalisation.
    options = {option.name: option for option in describe("unet").options}
    assert options["base_filters"].default == 32
    assert options["base_filters"].faithful == 64
    assert options["base_filters"].values == "1 to 1024"
    assert options["padding"].faithful == "valid"
    assert options["norm"].values == "instance, batch, none"
    assert options["dropout"].values == "0 or more, below 1"
    assert options["depth"].faithful == options["depth"].default == 5


def test_a_preset_has_its_networks_description():
    preset = next(iter(PRESETS.values()))
    assert describe(preset.name) == describe(preset.model)


def test_every_family_is_drawn(families, drawer):
    assert {info.family for info in MODELS.values()} <= set(families)
    for family in families:
        assert (drawer.IMAGES / drawer.file_name(family)).is_file()


def test_the_drawings_are_current(drawer):
    for name, text in drawer.drawings().items():
        stored = (drawer.IMAGES / name).read_text(encoding="utf-8")
        assert stored == text, "run: python docs/draw_families.py"


def test_the_drawings_show_what_is_described(families, drawer):
    for family, described in families.items():
        root = ElementTree.fromstring(drawer.draw(described))
        texts = [element.text for element in root.iter(f"{SVG}text")]
        assert described["title"] in texts
        assert set(described["legend"].values()) <= set(texts), family
        arrows = [e for e in root.iter(f"{SVG}path") if e.get("class", "").startswith("arrow")]
        in_legend = sum(kind in described["arrows"] for kind in described["legend"])
        assert len(arrows) == sum(map(len, described["arrows"].values())) + in_legend, family
        width = int(root.get("width"))
        for box in root.iter(f"{SVG}rect"):
            left, right = float(box.get("x")), float(box.get("x")) + float(box.get("width"))
            assert 0 <= left < right <= width, family


def test_the_channels_drawn_are_those_of_the_default_form(families):
    """Each number in a drawing is the width of some layer of the network it names."""
    import kit

    for family, described in families.items():
        name = described["network"]
        drawn = {box["channels"] for box in described["boxes"].values() if "channels" in box}
        if not drawn or name not in MODELS:
            continue
        options = {"base_filters": 64} if MODELS[name].kind == "backbone" else {}
        rank = MODELS[name].dims[0]
        model = kit.counted(name, (64,) * rank + (1,), 2, **options)
        widths = {layer.output.shape[-1] for layer in model.layers if hasattr(layer, "kernel_size")}
        widths |= {layer.output.shape[-1] for layer in model.layers if "concat" in layer.name}
        assert drawn <= widths, family


def test_the_benchmarks_table_is_shown_where_it_was_measured(tmp_path):
    maker = load(ROOT / "docs/make_models.py")
    assert maker.ten_minutes_section(tmp_path / "missing.json") == []
    row = {
        "network": "vnet", "family": "3D U-shape", "data": "hippocampus", "dice": 0.8123,
        "parameters": 14_700_179, "seconds_per_step": 1.234, "steps": 480, "peak_rss_mib": 2415,
        "lost": [],
    }  # fmt: skip
    path = tmp_path / "ten_minutes.json"
    settings = {"time_budget": "10m", "cores": 2, "seed": 0}
    path.write_text(json.dumps({"settings": settings, "rows": [row]}), encoding="utf-8")
    lines = maker.ten_minutes_section(path)
    assert lines[0] == "## After 10m of training"
    assert "python benchmarks/ten_minutes.py --time-budget 10m --cores 2 \\" in lines
    assert (
        "| `vnet` | 3D U-shape | Hippocampus, 3D | 0.812 | 14.70 M | 1.23 | 480 | 2.4 GiB |  |"
        in lines
    )

"""What CONTRIBUTING.md says of a new network: one file, one registry line, one conformance line."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import kit
import numpy as np
import pytest

from tfseg import models
from tfseg.cli.main import run
from tfseg.models import info, registry

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def example():
    """The three pieces of code of the section: the file, the registry's line, the kit's line."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## A new network")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_the_example_is_one_file_and_two_lines(example):
    assert len(example) == 3
    assert [code.count("\n") for code in example[1:]] == [1, 1]


def test_the_example_is_a_network_like_any_other(example, tmp_path, monkeypatch, capsys):
    file, row, case = example
    (tmp_path / "tiny.py").write_text(file, encoding="utf-8")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    entry = eval(row.strip().rstrip(","), {"ModelInfo": info.ModelInfo})
    monkeypatch.setitem(registry.MODELS, "tiny", entry)
    cases = eval(f"{{{case}}}", {"Case": kit.Case})
    monkeypatch.setitem(kit.CASES, "tiny", cases["tiny"])

    assert run(["models", "tiny"]) == 0  # before anything is counted
    assert capsys.readouterr().out.startswith("tiny: FCN, 2D and 3D, output stride 1\n")
    for rank in (2, 3):
        shape = kit.shape_of("tiny", rank)
        image = kit.images(shape)
        logits = np.asarray(kit.small("tiny", shape)(image))
        assert logits.shape == (1, *shape[:-1], 2)
        again = np.asarray(kit.small("tiny", shape)(image))
        np.testing.assert_array_equal(logits, again)
    paper = models.model_config("tiny", faithful=True)
    assert paper.base_filters == 64
    # 3x3 convolutions without bias, a factor and a shift for each channel, and the logits' bias.
    counted = kit.counted("tiny", (None, None, 1), 2)
    numbers = sum(np.prod(weight.shape) for weight in counted.trainable_weights)
    assert numbers == 9 * 16 + 2 * 16 + 9 * 16 * 16 + 2 * 16 + 16 * 2 + 2

    path = tmp_path / "tiny.keras"
    kit.small("tiny", shape).save(path)
    loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded(image)), logits, atol=1e-6)
    sys.modules.pop("tfseg.models.tiny")


def test_its_description_is_read_from_the_file(example, tmp_path, monkeypatch):
    (tmp_path / "tiny.py").write_text(example[0], encoding="utf-8")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    entry = eval(example[1].strip().rstrip(","), {"ModelInfo": info.ModelInfo})
    describe = importlib.import_module("tfseg.models.describe")
    monkeypatch.setattr(describe, "MODELS", {"tiny": entry})
    assert describe.describe_all() == {
        "tiny": {
            "about": ["With ``faithful=True``: 64 channels."],
            "options": {
                "base_filters": {
                    "values": "1 or more",
                    "default": 16,
                    "faithful": 64,
                    "what": "channels of both convolutions.",
                }
            },
        }
    }
    sys.modules.pop("tfseg.models.tiny")


@pytest.mark.slow
def test_in_a_copy_of_the_sources_the_three_edits_suffice(example, tmp_path):
    """The kit's cheap promises hold for the example, by the kit itself."""
    file, row, case = example
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tfseg", tmp_path / "tfseg", ignore=ignored)
    shutil.copytree(ROOT / "tests/conformance", tmp_path / "tests/conformance", ignore=ignored)
    for path in ("pyproject.toml", "tests/conftest.py", "tests/keras_memory.py"):
        shutil.copy(ROOT / path, tmp_path / path)
    (tmp_path / "tfseg/models/tiny.py").write_text(file, encoding="utf-8")
    for path, opening, line in (
        (tmp_path / "tfseg/models/registry.py", "\n_FCN = (\n", row),
        (tmp_path / "tests/conformance/kit.py", "\nCASES: dict[str, Case] = {\n", case),
    ):
        text = path.read_text(encoding="utf-8")
        assert opening in text
        path.write_text(text.replace(opening, f"{opening}    {line}"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", "tiny", "-m", "not gpu", "tests/conformance/test_networks.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20

"""What is shipped: the wheel's content, the repository's top level, the container's context."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "tfseg", "export", "serving")

# Every entry has a reason to be at the top; what is made by running the project is not tracked.
TOP_LEVEL = {
    ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile",
    "LICENSE", "Makefile", "README.md", "benchmarks", "docs", "examples", "export",
    "pyproject.toml", "serving", "setup.py", "tests", "tfseg",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy: setuptools leaves its build folder in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    done = subprocess.run(
        [sys.executable, *command], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("tfseg-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_three_packages_whole(wheel):
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(parent).as_posix()
        for parent, package in (
            (ROOT, "tfseg"),
            (ROOT / "export", "tfseg_export"),
            (ROOT / "serving", "tfseg_serving"),
        )
        for pattern in ("*.py", "*.html", "models/*.json", "py.typed")
        for path in (parent / package).rglob(pattern)
    }
    assert shipped == expected
    assert {"tfseg/py.typed", "tfseg/report/report.html"} <= shipped


def test_the_wheel_installs_the_command(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "tfseg = tfseg.cli.main:main" in wheel.read(name).decode()


def metadata(wheel: zipfile.ZipFile) -> str:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    return wheel.read(name).decode()


def test_extras_and_requirements(wheel):
    text = metadata(wheel)
    extras = set(re.findall(r"^Provides-Extra: (.+)$", text, re.M))
    assert extras == {"all", "dev", "gpu", "openvino", "serving", "tensorrt", "tflite"}
    required = {
        re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0].lower()
        for line in re.findall(r"^Requires-Dist: (.+)$", text, re.M)
    }
    # Ended in 2024 and does not import beside the TensorFlow required here.
    assert "tensorflow-addons" not in required
    # Beside `tensorflow`, which tensorflow-serving-api requires, it would overwrite its files.
    assert "tensorflow-cpu" not in required


def test_every_requirement_has_its_reason(wheel):
    adr = (ROOT / "docs/adr/0002-dependencies.md").read_text(encoding="utf-8").lower()
    for line in re.findall(r"^Requires-Dist: (.+)$", metadata(wheel), re.M):
        name = re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0].lower()
        assert f"`{name}`" in adr, f"say in docs/adr/0002-dependencies.md why {name} is needed"


def test_the_top_level_is_the_designed_one():
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: generated files cannot be told from tracked ones")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {name.split("/")[0] for name in listed} <= TOP_LEVEL


def test_paths_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    quoted = re.findall(r"`((?:docs|serving|examples|benchmarks|tests|export)/[\w./-]+)`", text)
    missing = [name for name in (*links, *quoted) if not (ROOT / name).exists()]
    assert missing == []


def test_the_containers_context_holds_what_the_wheel_is_made_of():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines  # everything is out, then
    assert {line[1:] for line in lines if line.startswith("!")} == set(SOURCES)


def test_the_containers_last_stage_gets_the_environment_alone():
    text = (ROOT / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.findall(r"^(?:COPY|ADD) .*$", last, re.M) == [
        "COPY --from=build /opt/tfseg /opt/tfseg"
    ]
    assert re.search(r"^USER tfseg$", last, re.M)
    assert 'ENTRYPOINT ["tfseg"]' in last
    extras = {name for group in re.findall(r"extras=([\w,]+)", text) for name in group.split(",")}
    assert extras == {"serving", "gpu", "tensorrt"}


def test_nothing_is_reported_to_the_makers_of_runtimes():
    """ONNX Runtime reads it when it is imported."""
    code = "import tfseg, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    clean = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean)
    assert done.stdout == "1\n"

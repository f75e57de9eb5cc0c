"""The pages in a real browser: no console message, nothing loaded, nothing wider than a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfseg.evaluation import Comparison, Difference
from tfseg.report import overlay_png, write_evaluation
from tfseg.volume import Volume

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
MEASURE = """<script>document.documentElement.dataset.widths =
    [innerWidth, document.documentElement.scrollWidth].join(" ")</script></body>"""


@pytest.fixture
def browse(tmp_path) -> Callable[..., tuple[str, list[str]]]:
    """Opens a page in headless Chromium; returns what it makes of it, and the console's lines."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")

    def open_page(path: Path, width: int = 1280) -> tuple[str, list[str]]:
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0",
            f"--window-size={width},800", "--dump-dom", path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)

    return open_page


@pytest.fixture
def written(tmp_path, evaluation) -> Path:
    """A page with everything that a page can have."""
    scan = Volume.from_geometry(np.zeros((6, 10, 12), np.float32), (3.0, 1.0, 1.0))
    label = np.zeros(scan.shape, np.uint8)
    label[2:4, 3:6, 2:5] = 1
    picture = overlay_png(scan, scan.with_array(label), scan.with_array(np.roll(label, 1, 2)))
    better = Difference(n=3, mean=0.5, ci_low=0.25, ci_high=0.75, p_value=0.01, better="this")
    comparison = Comparison(
        this="a", other="b", cases=3, mean_dice=better, differences={"liver": {"dice": better}}
    )
    return write_evaluation(
        evaluation(missing=["a_very_long_name_of_a_case_without_a_single_space_" * 3]),
        tmp_path / "evaluation.html",
        comparison=comparison,
        pictures=[("two", picture)],
        command="tfseg evaluate predictions --data " + "a/very/long/path" * 10,
    )


def test_the_page_opens_without_a_word(browse, written):
    dom, console = browse(written)
    assert console == []
    # The browser found nothing to repair: drawings and tables are as they were written.
    text = written.read_text()
    for tag in ("svg", "path", "circle", "text", "table", "tr", "td", "figure", "details", "img"):
        count = len(re.findall(rf"<{tag}\b", text))
        assert count > 0
        assert len(re.findall(rf"<{tag}\b", dom)) == count, tag


@pytest.mark.parametrize(
    "intruder",
    [
        '<img src="https://example.org/a.png" alt="">',
        "<script>alert(1)</script>",
        '<img src="data:," onerror="alert(1)" alt="">',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_what_would_be_loaded_or_run_is_refused_and_told(browse, written, intruder):
    # Shows as well that the test above would notice.
    text = written.read_text()
    written.write_text(text.replace("</main>", f"{intruder}</main>"))
    _, console = browse(written)
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browse, written, width):
    text = POLICY.sub("", written.read_text()).replace("</body>", MEASURE)
    written.write_text(text)
    dom, console = browse(written, width)
    assert console == []
    (screen, content) = map(int, re.search(r'data-widths="(\d+) (\d+)"', dom).groups())
    assert content <= screen <= max(width, 500)  # some browsers have no narrower window than 500

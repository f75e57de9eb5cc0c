"""Draw each family of networks: boxes are maps by resolution, arrows what is done to them.

    python docs/draw_families.py

Writes ``docs/images/families/<family>.svg`` from ``docs/data/families.json``. There a box has a
place (column, row; a row below is half the resolution), the number of its channels or a text, and
a kind; an arrow is ``"from to"`` under what it does, and the legend says that in words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tfseg.files import read_json, write_text

DOCS = Path(__file__).resolve().parent
FAMILIES = DOCS / "data" / "families.json"
IMAGES = DOCS / "images" / "families"

WIDTH = 800
COLUMN, ROW = 62.0, 74.0
LEFT, TOP = 46.0, 92.0
HEIGHTS = (58, 44, 33, 25, 19, 14)  # of a map's box, by level
GAP = 3.0  # between a box and an arrow's head or foot
BOX_KINDS = {"residual", "dense", "op"}  # that a legend explains; its other entries are arrows

STYLE = """
svg { --ink: #1f2328; --soft: #59636e; --map: #ddf4ff; --edge: #0969da; --down: #cf222e;
  --up: #1a7f37; --skip: #6e7781; --mask: #9a6700; --aux: #8250df; --out: #dafbe1; --op: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --soft: #9198a1; --map: #12304f; --edge: #58a6ff; --down: #ff7b72;
    --up: #3fb950; --skip: #9198a1; --mask: #d29922; --aux: #bc8cff;
    --out: #12331d; --op: #161b22; }
}
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink); }
.title { font-size: 14px; font-weight: 600; }
.soft { fill: var(--soft); font-size: 11px; }
.map, .residual, .dense { fill: var(--map); stroke: var(--edge); }
.image { fill: var(--op); stroke: var(--soft); }
.logits { fill: var(--out); stroke: var(--up); }
.op { fill: var(--op); stroke: var(--soft); }
.stripe { stroke: var(--edge); fill: none; }
.arrow { fill: none; stroke-width: 1.6; }
.flow { stroke: var(--ink); } .flow-head { fill: var(--ink); }
.down { stroke: var(--down); } .down-head { fill: var(--down); }
.up { stroke: var(--up); } .up-head { fill: var(--up); }
.skip { stroke: var(--skip); } .skip-head { fill: var(--skip); }
.mask { stroke: var(--mask); stroke-dasharray: 2 3; } .mask-head { fill: var(--mask); }
.training { stroke: var(--aux); stroke-dasharray: 5 3; } .training-head { fill: var(--aux); }
"""


@dataclass(frozen=True)
class Box:
    """A map, an image or a step, drawn around (x, y); all in pixels."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


def read_box(entry: dict[str, Any]) -> Box:
    """Place a box; maps are as high as their resolution says and the wider the more channels."""
    column, row = entry["at"]
    kind = entry.get("kind", "map")
    text = entry.get("text", str(entry.get("channels", "")))
    height: float = HEIGHTS[int(entry.get("level", row))]
    if kind == "op":
        width, height = 14 + 7.0 * len(text), 26.0
    elif "channels" in entry:
        width = 6 * math.log2(entry["channels"]) - 14
    else:
        width = 8.0 if kind == "logits" else 12.0
    return Box(LEFT + COLUMN * column + 20, TOP + ROW * row, width, height, kind, text)


def draw_box(box: Box) -> list[str]:
    """Return the box, its marks and its text."""
    left, top = box.x - box.width / 2, box.y - box.height / 2
    rounding = 5 if box.kind == "op" else 2
    drawn = [
        f'<rect class="{box.kind}" x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{rounding}"/>'
    ]
    if box.kind == "dense":
        for share in (0.25, 0.5, 0.75):
            x = left + share * box.width
            drawn.append(f'<path class="stripe" d="M{x:.1f} {top:.1f}v{box.height:.1f}"/>')
    if box.kind == "residual":
        drawn.append(
            f'<path class="stripe" d="M{box.x - 5:.1f} {box.y:.1f}h10m-5 -5v10"/>'
            f'<circle class="stripe" cx="{box.x:.1f}" cy="{box.y:.1f}" r="5"/>'
        )
    if box.text:
        y = box.y + 4 if box.kind == "op" else top - 6
        drawn.append(
            f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(box.text)}</text>'
        )
    return drawn


def draw_arrow(a: Box, b: Box, kind: str) -> str:
    """Return an arrow: straight along a row or column, else first down or first along."""
    down = b.y > a.y
    if kind == "training" and "op" not in (a.kind, b.kind) and abs(a.y - b.y) < HEIGHTS[0] / 2:
        # Low on the box's side, out of the way of what leaves its middle.
        path = f"M{a.x + a.width / 2 + GAP:.1f} {b.y:.1f}H{b.x - b.width / 2 - GAP:.1f}"
    elif abs(a.y - b.y) < 1:
        path = f"M{a.x + a.width / 2 + GAP:.1f} {a.y:.1f}H{b.x - b.width / 2 - GAP:.1f}"
    elif abs(a.x - b.x) < 1:
        side = 1 if down else -1
        path = (
            f"M{a.x:.1f} {a.y + side * (a.height / 2 + GAP):.1f}"
            f"V{b.y - side * (b.height / 2 + GAP):.1f}"
        )
    elif "op" in (a.kind, b.kind) and not (kind == "mask" and a.kind == b.kind):
        path = curve(a, b)
    elif down:
        path = f"M{a.x:.1f} {a.y + a.height / 2 + GAP:.1f}V{b.y:.1f}H{b.x - b.width / 2 - GAP:.1f}"
    else:
        path = f"M{a.x + a.width / 2 + GAP:.1f} {a.y:.1f}H{b.x:.1f}V{b.y + b.height / 2 + GAP:.1f}"
    return f'<path class="arrow {kind}" marker-end="url(#{kind}-head)" d="{path}"/>'


def curve(a: Box, b: Box) -> str:
    """Return an S from the right of one box to the left of another."""
    start, end = a.x + a.width / 2 + GAP, b.x - b.width / 2 - GAP
    middle = (start + end) / 2
    return (
        f"M{start:.1f} {a.y:.1f}C{middle:.1f} {a.y:.1f} {middle:.1f} {b.y:.1f} {end:.1f} {b.y:.1f}"
    )


def draw_heads(kinds: list[str]) -> str:
    """Return the arrow heads, one a colour."""
    heads = "".join(
        f'<marker id="{kind}-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        f'markerHeight="6" orient="auto"><path class="{kind}-head" d="M0 0L8 4L0 8z"/></marker>'
        for kind in kinds
    )
    return f"<defs>{heads}</defs>"


def draw_legend(legend: dict[str, str], y: float) -> tuple[list[str], float]:
    """Return the legend, in lines that start at ``y``, and where its last line is."""
    drawn: list[str] = []
    x = LEFT
    for kind, words in legend.items():
        width = 52 + 5.6 * len(words)
        if x + width > WIDTH:
            x, y = LEFT, y + 22
        if kind in BOX_KINDS:
            drawn += draw_box(Box(x + 12, y - 4, 18, 12, kind, ""))
        else:
            drawn.append(
                f'<path class="arrow {kind}" marker-end="url(#{kind}-head)" '
                f'd="M{x:.1f} {y - 4:.1f}h24"/>'
            )
        drawn.append(f'<text class="soft" x="{x + 31:.1f}" y="{y:.1f}">{escape(words)}</text>')
        x += width
    return drawn, y


def draw_rows(boxes: dict[str, Any]) -> list[str]:
    """Return the resolution of each row with maps, at the left edge."""
    levels = sorted({int(entry["at"][1]) for entry in boxes.values() if "channels" in entry})
    return [
        f'<text class="soft" x="10" y="{TOP + ROW * level + 4:.1f}">'
        f"{f'1/{2**level}' if level else '1'}</text>"
        for level in levels
    ]


def draw(family: dict[str, Any]) -> str:
    """Return the drawing of one family as SVG."""
    entries = family["boxes"]
    boxes = {name: read_box(entry) for name, entry in entries.items()}
    below = max(box.y + box.height / 2 for box in boxes.values()) + 42
    legend, last = draw_legend(family["legend"], below)
    parts = [
        draw_heads(list(family["arrows"])),
        f'<text class="title" x="{LEFT:.0f}" y="26">{escape(family["title"])}</text>',
        *(draw_rows(entries) if family.get("rows", True) else ()),
    ]
    for kind, pairs in family["arrows"].items():
        for pair in pairs:
            start, end = pair.split()
            parts.append(draw_arrow(boxes[start], boxes[end], kind))
    for box in boxes.values():
        parts += draw_box(box)
    height = last + 18
    title = escape(family["title"])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        + "\n".join([*parts, *legend])
        + "\n</svg>\n"
    )


def file_name(family: str) -> str:
    """Return the name of a family's drawing."""
    return f"{family.lower().replace(' ', '-')}.svg"


def drawings() -> dict[str, str]:
    """Return file name -> drawing, of all families."""
    described = read_json(FAMILIES, "the families")
    return {file_name(name): draw(family) for name, family in described.items()}


def main() -> None:
    """Write all drawings."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, text in drawings().items():
        write_text(IMAGES / name, text)


if __name__ == "__main__":
    main()

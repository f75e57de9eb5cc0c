"""Pictures of label maps over their scans, in three orthogonal planes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.artifact import label_colour
from tfseg.errors import DataError
from tfseg.volume import Volume

# CT is shown in the usual abdominal window (level 40, width 400); others from percentile 1 to
# 99 of the planes shown.
_CT_WINDOW_HU = (-160.0, 240.0)
_PERCENTILES = (1.0, 99.0)

_SIDE_IN = 3.6  # the longest side of any panel
_GAP_IN = 0.12
_TITLE_IN = 0.34
_CAPTION_IN = 0.28
_LEGEND_IN = 0.42
_DPI = 110
_DASHES = (0, (2.5, 1.8))
_DARK, _LIGHT, _REFERENCE = "#101418", "#e6e9ec", "#ffffff"
# Told apart with any colour vision (Okabe and Ito 2008): orange and blue on grey.
_AGREEMENT = {
    "same in both": (150, 155, 160),
    "only in the labels": (230, 159, 0),
    "only in the reference": (86, 180, 233),
}


@dataclass(frozen=True)
class _Plane:
    """How a plane is cut and shown: the axis cut, and the array axes that are rows and columns.

    Array axes run to Superior, Posterior, Left, and rows are drawn upwards where they run to
    Superior: the patient's left is on the right of the picture, as radiologists look at it.
    """

    name: str
    cut: int
    rows: int
    columns: int
    upwards: bool
    letters: str  # at the left, right, top and bottom edge


_PLANES = (
    _Plane("axial", 0, 1, 2, False, "RLAP"),
    _Plane("coronal", 1, 0, 2, True, "RLSI"),
    _Plane("sagittal", 2, 0, 1, True, "APSI"),
)


@dataclass(frozen=True, eq=False)
class _Panel:
    image: NDArray[Any]  # (rows, columns) or (rows, columns, 3) 8-bit
    pixel_mm: tuple[float, float]
    caption: str
    found: NDArray[Any] | None = None  # labels, (rows, columns)
    expected: NDArray[Any] | None = None
    letters: str = ""
    upwards: bool = False
    crossing: tuple[int, int] | None = None  # (row, column) of the other planes

    @property
    def size_mm(self) -> tuple[float, float]:
        return self.image.shape[0] * self.pixel_mm[0], self.image.shape[1] * self.pixel_mm[1]


def overlay_png(
    volume: Volume,
    label: Volume,
    reference: Volume | None = None,
    *,
    labels: Sequence[str] = (),
    title: str = "",
) -> bytes:
    """Draw a scan with its label map, and the reference's outlines if there is one.

    A scan is shown in three planes of the canonical orientation, in true proportions. They cross
    at the worst place: the voxel where the two maps differ whose planes show the most such
    voxels. Where they do not differ, or there is no reference, they cross at the fullest place,
    chosen likewise among the foreground. The label map is filled and outlined in its classes'
    colours; the reference is outlined in white dashes.

    A single slice or a photograph is shown as it is stored, without and with the label map.
    Structures there may be a few pixels wide, so instead of outlines the reference gets a panel
    of its own: where the two maps differ.

    Args:
        volume: the scan; of several channels the first is shown, three of 8 bits as colours.
        label: label map on the scan's grid.
        reference: label map on the scan's grid.
        labels: names of the values, for the legend; empty for none.
        title: written above.

    Returns:
        A PNG file.

    Raises:
        DataError: the grids differ.
    """
    for name, other in (("label map", label), ("reference", reference)):
        if other is not None and not volume.same_grid(other):
            raise DataError(
                f"the {name} must lie on the scan's grid; the scan is {volume.shape}, the {name} "
                f"{other.shape}. Resample it onto the scan."
            )
    panels = _slice_panels(volume, label, reference)
    if volume.shape[0] > 1:
        panels = _plane_panels(volume, label, reference)
    return _render(panels, _window(volume, panels), _legend(panels, labels), title)


def _slice_panels(volume: Volume, label: Volume, reference: Volume | None) -> list[_Panel]:
    spacing = volume.spacing_mm[1:]
    image = _displayed(volume.channel_last())[0]
    found = label.channel_last()[0, ..., 0]
    panels = [_Panel(image, spacing, "image"), _Panel(image, spacing, "labels", found)]
    if reference is not None:
        difference = _difference(found, reference.channel_last()[0, ..., 0])
        panels.append(_Panel(difference, spacing, "difference"))
    return panels


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture (rows, columns, 3) of where two label maps agree and differ."""
    agree, extra, missed = _AGREEMENT.values()
    picture = np.zeros((*found.shape, 3), np.uint8)
    picture[(found > 0) & (found != expected)] = extra
    picture[(expected > 0) & (found != expected)] = missed
    picture[(found > 0) & (found == expected)] = agree
    return picture


def _plane_panels(volume: Volume, label: Volume, reference: Volume | None) -> list[_Panel]:
    way = geometry.to_orientation(volume.affine)
    scan = way.apply(_displayed(volume.channel_last()))
    found = way.apply(label.channel_last()[..., 0])
    expected = None if reference is None else way.apply(reference.channel_last()[..., 0])
    spacing = [volume.spacing_mm[axis] for axis in way.axes]
    place = _place(found, expected)
    panels = []
    for plane in _PLANES:
        index = place[plane.cut]
        image, labels, outlines = (
            None if part is None else part.take(index, axis=plane.cut)
            for part in (scan, found, expected)
        )
        panels.append(
            _Panel(
                np.asarray(image),
                (spacing[plane.rows], spacing[plane.columns]),
                f"{plane.name}, slice {index + 1} of {scan.shape[plane.cut]}",
                labels,
                outlines,
                plane.letters,
                plane.upwards,
                (place[plane.rows], place[plane.columns]),
            )
        )
    return panels


def _displayed(array: NDArray[Any]) -> NDArray[Any]:
    """Return (z, y, x) gray or (z, y, x, 3) colours of an array with channels last."""
    return array if array.shape[-1] == 3 and array.dtype == np.uint8 else array[..., 0]


def _place(found: NDArray[Any], expected: NDArray[Any] | None) -> tuple[int, int, int]:
    """Return the voxel (z, y, x) that the planes go through: the worst, fullest or middle one."""
    if expected is not None:
        different = found != expected
        if different.any():
            return _fullest(different)
    if found.any():
        return _fullest(found > 0)
    depth, height, width = found.shape
    return depth // 2, height // 2, width // 2


def _fullest(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return the voxel of a mask (z, y, x), not empty, whose planes hold the most of it."""
    in_slices, in_rows, in_columns = (
        np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))
    )
    best, place = -1, (0, 0, 0)
    # Slice by slice: the indices of a whole scan's voxels would take many times its memory.
    for index in np.flatnonzero(in_slices):
        rows, columns = np.nonzero(mask[index])
        held = in_rows[rows] + in_columns[columns]
        top = int(held.argmax())
        if in_slices[index] + held[top] > best:
            best = in_slices[index] + held[top]
            place = (int(index), int(rows[top]), int(columns[top]))
    return place


def _window(volume: Volume, panels: Sequence[_Panel]) -> tuple[float, float]:
    if volume.modality == "CT":
        return _CT_WINDOW_HU
    shown = np.concatenate([np.ravel(p.image) for p in panels if p.caption != "difference"])
    low, high = np.percentile(shown[np.isfinite(shown)], _PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def _render(
    panels: Sequence[_Panel],
    window: tuple[float, float],
    legend: Sequence[Any],
    title: str,
) -> bytes:
    # The object interface: pyplot would keep global figures and choose a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = _SIDE_IN / max(length for panel in panels for length in panel.size_mm)
    sizes = [(height * scale, width * scale) for height, width in (p.size_mm for p in panels)]
    tallest = max(high for high, _ in sizes)
    height = tallest + _CAPTION_IN + _LEGEND_IN
    width = sum(size[1] for size in sizes) + _GAP_IN * (len(panels) + 1)
    if title:
        height += _TITLE_IN
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_DARK)
    FigureCanvasAgg(figure)
    left = _GAP_IN
    for panel, (high, wide) in zip(panels, sizes, strict=True):
        middle = _LEGEND_IN + (tallest - high) / 2
        axes = figure.add_axes((left / width, middle / height, wide / width, high / height))
        _draw_panel(axes, panel, window)
        left += wide + _GAP_IN
    if legend:
        figure.legend(
            handles=legend,
            loc="lower center",
            ncol=len(legend),
            frameon=False,
            labelcolor=_LIGHT,
            fontsize=9,
            handlelength=1.6,
            columnspacing=1.4,
        )
    if title:
        figure.suptitle(title, color=_LIGHT, fontsize=11, y=1 - 0.12 / height, va="top")
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor=_DARK)
    return png.getvalue()


def _draw_panel(axes: Any, panel: _Panel, window: tuple[float, float]) -> None:
    from matplotlib.patheffects import withStroke

    low, high = window
    axes.imshow(
        panel.image,
        cmap="gray",
        vmin=low,
        vmax=high,
        aspect="auto",  # the axes themselves have the true proportions
        origin="lower" if panel.upwards else "upper",
        interpolation="nearest",
    )
    axes.set_axis_off()
    axes.set_title(panel.caption, color=_LIGHT, fontsize=9, pad=4)
    for letter, (x, y), align in zip(
        panel.letters,
        ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02)),
        (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom")),
        strict=False,  # a photograph has no letters
    ):
        axes.text(
            x, y, letter, transform=axes.transAxes, color=_LIGHT, fontsize=9,
            ha=align[0], va=align[1], path_effects=[withStroke(linewidth=2, foreground=_DARK)],
        )  # fmt: skip
    if panel.crossing is not None:
        _draw_crossing(axes, panel.crossing)
    if panel.found is not None:
        _draw_labels(axes, panel.found, panel.upwards)
    if panel.expected is not None:
        for value in _values(panel.expected):
            _outline(axes, panel.expected == value, _REFERENCE, 1.0, _DASHES)


def _draw_crossing(axes: Any, crossing: tuple[int, int]) -> None:
    """Mark where the other planes cut this one; faint, since what lies there matters more."""
    row, column = crossing
    style = {"color": _LIGHT, "linewidth": 0.6, "alpha": 0.7}
    axes.axhline(row, **style)
    axes.axvline(column, **style)


def _draw_labels(axes: Any, found: NDArray[Any], upwards: bool) -> None:
    fill = np.zeros((*found.shape, 4), np.float32)
    for value in _values(found):
        fill[found == value] = (*_colour(value), 0.35)
    axes.imshow(
        fill, aspect="auto", origin="lower" if upwards else "upper", interpolation="nearest"
    )
    for value in _values(found):
        _outline(axes, found == value, _colour(value), 1.1, "solid")


def _outline(axes: Any, mask: NDArray[np.bool_], colour: Any, width: float, style: Any) -> None:
    # A border of False closes outlines at the edge of the picture.
    rows, columns = mask.shape
    axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        np.pad(mask, 1).astype(np.float32),
        levels=[0.5],
        colors=[colour],
        linewidths=[width],
        linestyles=[style],
    )
    axes.set_xlim(-0.5, columns - 0.5)
    low, high = axes.get_ylim()
    axes.set_ylim((rows - 0.5, -0.5) if low > high else (-0.5, rows - 0.5))


def _values(labels: NDArray[Any]) -> list[int]:
    return [int(value) for value in np.unique(labels) if value > 0]


def _colour(value: int) -> tuple[float, float, float]:
    red, green, blue = label_colour(value)
    return red / 255, green / 255, blue / 255


def _legend(panels: Sequence[_Panel], labels: Sequence[str]) -> list[Any]:
    """Return legend entries for the label values and the outlines that the panels show."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    maps = [part for panel in panels for part in (panel.found, panel.expected) if part is not None]
    handles: list[Any] = [
        Patch(
            facecolor=(*_colour(value), 0.6),
            edgecolor=_colour(value),
            label=labels[value] if value < len(labels) else f"label {value}",
        )
        for value in sorted({value for part in maps for value in _values(part)})
    ]
    if any(panel.expected is not None for panel in panels):
        handles.append(Line2D([], [], color=_REFERENCE, lw=1.2, ls=_DASHES, label="reference"))
    if panels[-1].caption == "difference":
        handles += [
            Patch(facecolor=[c / 255 for c in rgb], label=text) for text, rgb in _AGREEMENT.items()
        ]
    return handles

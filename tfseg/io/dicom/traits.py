"""What may tell apart slices that lie at one place: the attributes of single-frame files.

Those of frames in multi-frame files are found by :mod:`.multiframe` under the same names.
"""

from __future__ import annotations

from tfseg.io.dicom.elements import Elements
from tfseg.io.dicom.moments import seconds

# In the order in which they are tried.
TRAITS = (
    "image type", "component", "echo", "inversion", "b", "direction", "energy window", "detector",
    "time", "phase", "rr interval", "time slot", "kernel", "acquisition", "stack", "flip angle",
    "repetition", "kvp", "thickness", "patient position", "corrections", "sequence", "scan options",
    "contrast", "echo number", "label", "kind", "reference time", "acquired", "content",
    "dimension", "description",
)  # fmt: skip
# Volumes are numbered by these: their values are moments, or text that may say anything.
_NUMBERED = {
    "reference time": "time",
    "acquired": "time",
    "content": "time",
    "contrast": "contrast",
    "description": "description",
    "side": "side",
}
# One volume has one of these, or it may be two: see :func:`mixed`.
_OF_A_VOLUME = (
    "image type", "component", "b", "energy window", "time", "rr interval", "time slot", "kernel",
    "kvp", "patient position", "corrections", "kind",
)  # fmt: skip

Traits = dict[str, object]


def traits_of(image_type: tuple[str, ...], elements: Elements) -> Traits:
    """Return the traits that a file's own elements name."""
    found: Traits = {
        "image type": "/".join(image_type[2:]) or None,
        "component": elements.text("ComplexImageComponent") or None,
        "echo": elements.hint("EchoTime") or elements.hint("EchoNumbers"),
        "echo number": elements.hint("EchoNumbers"),
        "inversion": elements.hint("InversionTime"),
        "b": _b_value(elements),
        "direction": elements.hint("DiffusionGradientOrientation"),
        "time": elements.hint("TemporalPositionIdentifier"),
        "phase": (
            elements.hint("NominalPercentageOfCardiacPhase")
            or elements.hint("NominalPercentageOfRespiratoryPhase")
            or elements.hint("TriggerTime")
        ),
        "acquisition": elements.hint("AcquisitionNumber"),
        "stack": elements.text("StackID") or None,
        "kernel": elements.text("ConvolutionKernel") or None,
        "flip angle": elements.hint("FlipAngle"),
        "repetition": elements.hint("RepetitionTime"),
        "kvp": elements.hint("KVP"),
        "thickness": elements.hint("SliceThickness"),
        "patient position": elements.text("PatientPosition") or None,
        "corrections": "/".join(sorted(elements.texts("CorrectedImage"))) or None,
        "sequence": elements.text("SequenceName") or None,
        "scan options": "/".join(elements.texts("ScanOptions")) or None,
        "contrast": elements.text("ContrastBolusAgent") or None,
        "kind": "/".join(image_type[:2]) or None,
        "reference time": elements.hint("FrameReferenceTime"),
        "acquired": seconds(
            elements.text("AcquisitionDateTime"),
            elements.text("AcquisitionDate"),
            elements.text("AcquisitionTime"),
        ),
        "content": seconds("", elements.text("ContentDate"), elements.text("ContentTime")),
        "description": elements.text("SeriesDescription") or None,
    }
    if elements.text("PrivateCreator0019") == "SIEMENS MR HEADER":
        found["direction"] = found["direction"] or elements.hint("SiemensGradientDirection")
    if elements.text("PrivateCreator0043") == "GEMS_PARM_01":
        kind = elements.hint("GEImageKind")  # 0 magnitude, 1 phase, 2 real, 3 imaginary
        found["image type"] = f"{found['image type']}/{kind[0]:g}" if kind else found["image type"]
    if elements.text("PrivateCreator2001").upper().startswith("PHILIPS"):
        found["time"] = found["time"] or elements.hint("PhilipsPhaseNumber")
    if elements.text("PrivateCreator2005").upper().startswith("PHILIPS"):
        found["component"] = found["component"] or elements.text("PhilipsImageType") or None
    return {name: value for name, value in found.items() if value is not None}


def _b_value(elements: Elements) -> tuple[float, ...] | None:
    standard = elements.hint("DiffusionBValue")
    if standard:
        return standard
    if elements.text("PrivateCreator0019") == "SIEMENS MR HEADER":
        return elements.hint("SiemensBValue")
    if elements.text("PrivateCreator2001").upper().startswith("PHILIPS"):
        return elements.hint("PhilipsBValue")
    if elements.text("PrivateCreator0043") == "GEMS_PARM_01":
        found = elements.hint("GEBValue")
        # GE adds 10^9 to mark the value as valid.
        return (found[0] % 100_000,) if found else None
    return None


def label(trait: str, value: object, number: int) -> str:
    """Return what a volume is called by: ``b 800``, or ``time 2`` for moments and free text.

    Args:
        trait: name of the trait.
        value: of this volume; ``None`` where its slices have none.
        number: of this volume among those that the trait parts, from 1.
    """
    if trait in _NUMBERED:
        return f"{_NUMBERED[trait]} {number}"
    return f"{trait} {value_text(value)}"


def value_text(value: object) -> str:
    """Return a trait's value on one line."""
    if isinstance(value, tuple):
        return "/".join(f"{number:g}" for number in value)
    return "none" if value is None else str(value)


def sort_key(value: object) -> tuple[int, tuple[float, ...], str]:
    """Order values of one trait: none, then numbers, then text."""
    if isinstance(value, tuple):
        return (1, tuple(float(number) for number in value), "")
    return (0 if value is None else 2, (), str(value or ""))


def mixed(traits: list[Traits]) -> tuple[str, ...]:
    """Say which traits differ within one volume though a volume has one of each."""
    said = []
    for name in _OF_A_VOLUME:
        values = {one.get(name) for one in traits}
        if 1 < len(values) <= max(2, len(traits) // 2):
            texts = [value_text(value) for value in sorted(values, key=sort_key)[:4]]
            said.append(
                f"slices differ in {name} ({', '.join(texts)}) and not in place: taken as one "
                "volume"
            )
    return tuple(said)

"""What structures are called in SNOMED CT: the coded names that DICOM objects carry.

Every segment needs a category and a type from a coding scheme (PS3.3 C.8.20.2, PS3.16 CID 7150
and 7151). The table has the structures of the data sets that tfseg knows; ``--codes FILE`` adds
others or replaces them. What neither has is coded as Tissue, its own name beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfseg.errors import ConfigError
from tfseg.files import read_json


class Code(NamedTuple):
    """A coded concept: value, coding scheme designator (``SCT``, ``DCM``, ``99...``), meaning."""

    value: str
    scheme: str
    meaning: str


class Concept(NamedTuple):
    """What a segment is: category (CID 7150), type (CID 7151) and, if any, its side (CID 244)."""

    category: Code
    type: Code
    modifier: Code | None = None


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


_ANATOMY = _sct("91723000", "Anatomical Structure")
_TISSUE = _sct("85756007", "Tissue")
_SUBSTANCE = _sct("91720002", "Body Substance")
_ABNORMAL = _sct("49755003", "Morphologically Abnormal Structure")
_SIDES = {"left": _sct("7771000", "Left"), "right": _sct("24028007", "Right")}
_BOTH = _sct("51440002", "Bilateral")
_DEFAULT = Concept(_TISSUE, _TISSUE)

# Category -> code -> meaning; names are looked up by the meaning, see _ALIASES for others.
_TABLE: dict[Code, dict[str, str]] = {
    _ANATOMY: {
        "10200004": "Liver", "78961009": "Spleen", "15776009": "Pancreas", "64033007": "Kidney",
        "41216001": "Prostate", "279706003": "Peripheral zone of the prostate",
        "399384005": "Transition zone of the prostate", "5366008": "Hippocampus",
        "39607008": "Lung", "80891009": "Heart", "82471001": "Left atrium",
        "73829009": "Right atrium", "87878005": "Left ventricle", "53085002": "Right ventricle",
        "15825003": "Aorta", "81040000": "Pulmonary artery", "76848001": "Pericardium",
        "41801008": "Coronary artery", "74281007": "Myocardium",
        "59820001": "Blood Vessel", "51114001": "Artery",
        "29092000": "Vein", "8993003": "Hepatic vein", "32764006": "Portal vein",
        "64131007": "Inferior vena cava", "71854001": "Colon", "69695003": "Stomach",
        "38848004": "Duodenum", "30315005": "Small intestine", "34402009": "Rectum",
        "28231008": "Gallbladder", "89837001": "Bladder", "23451007": "Adrenal gland",
        "32849002": "Esophagus", "44567001": "Trachea", "69748006": "Thyroid",
        "12738006": "Brain", "119238007": "Brain Stem", "113305005": "Cerebellum",
        "42695009": "Thalamus", "89278009": "Putamen", "11000004": "Caudate Nucleus",
        "14738005": "Globus Pallidus", "4958002": "Amygdala", "66720007": "Lateral Ventricle",
        "2748008": "Spinal cord", "18234004": "Optic nerve", "244453006": "Optic chiasm",
        "81745001": "Eye", "5665001": "Retina", "421060004": "Spine", "51282000": "Vertebra",
        "54735007": "Sacrum", "113197003": "Rib", "56873002": "Sternum", "51299004": "Clavicle",
        "79601000": "Scapula", "85050009": "Humerus", "71341001": "Femur", "12611008": "Tibia",
        "91609006": "Mandible", "29836001": "Hip", "76752008": "Breast",
        "45289007": "Parotid gland", "54019009": "Submandibular gland",
        "64739004": "Seminal Vesicle", "35039007": "Uterus", "15497006": "Ovary",
        "59441001": "Lymph Node",
    },
    _TISSUE: {
        "389080008": "White Matter", "389081007": "Gray Matter", "309312004": "Cartilage",
        "272673000": "Bone", "71616004": "Muscle", "55603005": "Fat", "39937001": "Skin",
        "85756007": "Tissue",
    },
    _SUBSTANCE: {"65216001": "Cerebrospinal Fluid", "87612001": "Blood"},
    _ABNORMAL: {
        "108369006": "Neoplasm", "52988006": "Lesion", "27925004": "Nodule", "4147007": "Mass",
        "367643001": "Cyst", "6574001": "Necrosis", "79654002": "Edema",
        "50960005": "Hemorrhage",
    },
}  # fmt: skip

# What labels of published data sets are called, where it is not the meaning.
_ALIASES = {
    "tumor": "neoplasm", "tumour": "neoplasm", "cancer": "neoplasm", "enhancing": "neoplasm",
    "enhancing tumor": "neoplasm", "enhancing tumour": "neoplasm",
    "non enhancing tumor": "neoplasm", "colon cancer primaries": "neoplasm",
    "abnormality": "lesion", "oedema": "edema", "csf": "cerebrospinal fluid",
    "grey matter": "gray matter", "pz": "peripheral zone of the prostate",
    "peripheral": "peripheral zone of the prostate",
    "peripheral zone": "peripheral zone of the prostate",
    "tz": "transition zone of the prostate", "transition": "transition zone of the prostate",
    "transition zone": "transition zone of the prostate", "vessel": "blood vessel",
    "blood pool": "blood", "femoral cartilage": "cartilage", "tibial cartilage": "cartilage",
    "oesophagus": "esophagus", "urinary bladder": "bladder", "brainstem": "brain stem",
    "gall bladder": "gallbladder", "thyroid gland": "thyroid", "vertebrae": "vertebra",
    "whole prostate": "prostate", "haemorrhage": "hemorrhage",
}  # fmt: skip

_CONCEPTS = {
    meaning.lower(): Concept(category, _sct(value, meaning))
    for category, codes in _TABLE.items()
    for value, meaning in codes.items()
}


def concept_of(name: str, overrides: Mapping[str, Concept] | None = None) -> Concept:
    """Return what a label's name means; Tissue where it is unknown.

    Case, ``_`` and ``-`` do not matter; a plural and a side (``left_lung``, ``lung left``,
    ``kidneys``) are understood.

    Args:
        name: of a label, e.g. ``left_lung``.
        overrides: name to concept, from :func:`read_codes`; they are looked up first.
    """
    if overrides and name in overrides:
        return overrides[name]
    words = re.sub(r"[\s_-]+", " ", name).strip().lower()
    if found := _known(words):
        return found
    sides = [word for word in words.split() if word in _SIDES]
    rest = _known(" ".join(word for word in words.split() if word not in _SIDES))
    if len(sides) == 1 and rest is not None:
        return rest._replace(modifier=_SIDES[sides[0]])
    return _DEFAULT


def _known(words: str) -> Concept | None:
    name = _ALIASES.get(words, words)
    if name in _CONCEPTS:
        return _CONCEPTS[name]
    if not words.endswith("s"):
        return None
    one = _known(words[:-1])
    paired = words[:-1] in {"kidney", "lung", "clavicle"}
    return one._replace(modifier=_BOTH) if one is not None and paired else one


def read_codes(path: str | os.PathLike[str]) -> dict[str, Concept]:
    """Read a table of coded names.

    ``{"liver": {"category": ["91723000", "SCT", "Anatomical Structure"], "type": ["10200004",
    "SCT", "Liver"]}}``; ``modifier`` may be given likewise, ``category`` may be left out.

    Raises:
        DataError: missing, or no JSON.
        ConfigError: an entry breaks these rules.
    """
    document = read_json(path, "the table of codes")
    if not isinstance(document, dict) or not document:
        raise ConfigError(f"{path}: codes are an object of label names; got {_shown(document)}.")
    return {name: _concept(f"{path}: {name!r}", entry) for name, entry in document.items()}


def _concept(what: str, entry: Any) -> Concept:
    keys = ("category", "type", "modifier")
    if not isinstance(entry, dict) or "type" not in entry or set(entry) - set(keys):
        raise ConfigError(
            f"{what}: an entry has a type and may have a category and a modifier, nothing else; "
            f"got {_shown(entry)}."
        )
    category, kind, modifier = (
        _code(f"{what}, {key}", entry[key]) if key in entry else None for key in keys
    )
    return Concept(category or _ANATOMY, kind or _TISSUE, modifier)


def _code(what: str, value: Any) -> Code:
    # PS3.5 6.2: SH has 16 characters, LO 64, and none of them is a backslash.
    rule = "a code is [value, scheme, meaning] of at most 16, 16 and 64 characters"
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(isinstance(part, str) and part.strip() for part in value)
        or any(
            len(part) > most or "\\" in part or not part.isprintable()
            for part, most in zip(value, (16, 16, 64), strict=True)
        )
    ):
        raise ConfigError(f"{what}: {rule}; got {_shown(value)}.")
    return Code(*value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

"""Names to SNOMED CT: the codes against pydicom's copy of the standard's, and how names match."""

import json

import pytest
from pydicom.sr._concepts_dict import concepts

from tfseg.errors import ConfigError
from tfseg.io.dicom_out.codes import _ALIASES, _CONCEPTS, concept_of, read_codes

# Of SNOMED CT itself, and not in the context groups of the standard: Myocardium structure.
NOT_IN_PS3_16 = {"74281007"}


def meanings():
    found: dict[str, set[str]] = {}
    for entries in concepts["SCT"].values():
        for value, (meaning, _) in entries.items():
            found.setdefault(value, set()).add(meaning.lower())
    return found


def test_every_code_is_the_standards():
    known = meanings()
    assert len(_CONCEPTS) > 70
    for name, concept in _CONCEPTS.items():
        for code in (concept.category, concept.type):
            if code.value not in NOT_IN_PS3_16:
                assert code.meaning.lower() in known[code.value], name
        assert name == concept.type.meaning.lower()


def test_aliases_name_entries():
    assert {name for name in _ALIASES.values() if name not in _CONCEPTS} == set()
    assert set(_ALIASES) & set(_CONCEPTS) == set()


@pytest.mark.parametrize(
    ("name", "category", "kind", "side"),
    [
        ("liver", "Anatomical Structure", "Liver", None),
        ("Left_Lung", "Anatomical Structure", "Lung", "Left"),
        ("lung-right", "Anatomical Structure", "Lung", "Right"),
        ("left_ventricle", "Anatomical Structure", "Left ventricle", None),
        ("kidneys", "Anatomical Structure", "Kidney", "Bilateral"),
        ("vessels", "Anatomical Structure", "Blood Vessel", None),
        ("lung nodules", "Tissue", "Tissue", None),
        ("vessel", "Anatomical Structure", "Blood Vessel", None),
        ("tumour", "Morphologically Abnormal Structure", "Neoplasm", None),
        ("CSF", "Body Substance", "Cerebrospinal Fluid", None),
        ("grey  matter", "Tissue", "Gray Matter", None),
        ("something else", "Tissue", "Tissue", None),
        ("left", "Tissue", "Tissue", None),
        ("", "Tissue", "Tissue", None),
    ],
)
def test_names_match(name, category, kind, side):
    concept = concept_of(name)
    assert (concept.category.meaning, concept.type.meaning) == (category, kind)
    assert (concept.modifier.meaning if concept.modifier else None) == side


def test_a_file_goes_before_the_table(tmp_path):
    entry = {"type": ["1", "99MINE", "Mine"], "modifier": ["7771000", "SCT", "Left"]}
    (tmp_path / "codes.json").write_text(json.dumps({"liver": entry}))
    overrides = read_codes(tmp_path / "codes.json")
    concept = concept_of("liver", overrides)
    assert concept.type == ("1", "99MINE", "Mine")
    assert concept.category.meaning == "Anatomical Structure"
    assert concept.modifier is not None
    assert concept_of("spleen", overrides).type.meaning == "Spleen"


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"category": ["1", "SCT", "x"]},
        {"type": ["1", "SCT", "x"], "colour": "red"},
        {"type": ["1", "SCT"]},
        {"type": ["1", "SCT", ""]},
        {"type": ["1\\2", "SCT", "x"]},
        {"type": ["1", "SCT", "a\nb"]},
        {"type": ["1", "SCT", "x" * 65]},
    ],
)
def test_bad_entries_are_refused(tmp_path, entry):
    (tmp_path / "codes.json").write_text(json.dumps({"liver": entry}))
    with pytest.raises(ConfigError, match=r"codes\.json: 'liver'"):
        read_codes(tmp_path / "codes.json")

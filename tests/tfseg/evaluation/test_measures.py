"""What is to be measured, from the names on a command line."""

import pytest

from tfseg.errors import ConfigError
from tfseg.evaluation import DEFAULT_METRICS, Measures, choose
from tfseg.metrics import METRICS, MetricOptions
from tfseg.metrics.challenges import PROTOCOLS, protocol

LABELS = ("background", "liver", "tumour")


def test_the_defaults():
    assert choose(LABELS) == Measures()
    assert choose(LABELS).columns == (*DEFAULT_METRICS, "reference_ml", "prediction_ml")
    assert set(DEFAULT_METRICS) <= set(METRICS)


def test_dice_comes_first_and_volumes_last_whatever_is_asked_for():
    measures = choose(LABELS, metrics=" hd95, pixel_acc,dice,reference_ml, hd95 ")
    assert measures.metrics == ("dice", "hd95")
    assert measures.image == ("pixel_acc",)
    assert measures.columns == ("dice", "hd95", "reference_ml", "prediction_ml")


@pytest.mark.parametrize("probabilities", [False, True])
def test_all_is_what_a_case_can_be_measured_by(probabilities):
    measures = choose(LABELS, metrics="all", probabilities=probabilities)
    chosen = {*measures.columns, *measures.image}
    levels = {"class", "lesion", "image", *(["probability"] if probabilities else [])}
    expected = {name for name, info in METRICS.items() if info.level in levels}
    assert chosen == expected - {"volume"}  # prediction_ml by another name
    assert measures.wants_probabilities is probabilities


def test_regions_by_value_and_by_name():
    measures = choose(LABELS, regions=["whole = 1+2, core=tumour", "same=2+2"])
    assert measures.regions == {"whole": (1, 2), "core": (2,), "same": (2,)}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_choose_everything(name):
    chosen = protocol(name)
    labels = tuple(str(value) for value in range(5))
    measures = choose(labels, protocol=chosen)
    assert measures.columns == chosen.columns
    assert measures.rules["empty_distance"] == chosen.options.empty_distance


def test_rules_are_as_json_has_them():
    measures = choose(LABELS, options=MetricOptions(tolerance_mm=(1.0, 2.0), hd_mode="pooled"))
    assert measures.rules["tolerance_mm"] == [1.0, 2.0]
    assert measures.rules["hd_mode"] == "pooled"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": "dise"}, "unknown metric 'dise'. Did you mean dice"),
        ({"metrics": "dice,hd_95"}, "unknown metric 'hd_95'. Did you mean hd95"),
        ({"metrics": "froc"}, "metrics of single cases; froc is measured of a set"),
        ({"metrics": " , "}, "needs names"),
        ({"regions": ["whole"]}, r"NAME=1\+2.*'whole'"),
        ({"regions": ["whole="]}, r"NAME=1\+2.*'whole='"),
        ({"regions": ["=1+2"]}, r"NAME=1\+2.*'=1\+2'"),
        ({"regions": ["whole=1+3"]}, r"1 liver, 2 tumour\); got '3'"),
        ({"regions": ["whole=0+1"]}, "got '0'"),
        ({"regions": ["whole=1+"]}, "got ''"),
        ({"regions": ["whole=kidney"]}, "got 'kidney'"),
        ({"regions": ["liver=1+2"]}, "two 'liver'"),
        ({"regions": ["a=1", "a=2"]}, "two 'a'"),
        ({"protocol": protocol("lits"), "metrics": "dice"}, "--protocol lits with --metrics"),
        ({"protocol": protocol("lits"), "regions": ["a=1"]}, "--protocol lits with --regions"),
        (
            {"protocol": protocol("kits"), "options": MetricOptions(tolerance_mm=2.0)},
            "--protocol kits with --tolerance",
        ),
        ({"protocol": protocol("acdc")}, "the protocol acdc needs the labels 0 to 3"),
        ({"options": MetricOptions(tolerance_mm=(1.0, 2.0, 3.0))}, "which are 2; got 3"),
        (
            {"options": MetricOptions(tolerance_mm=(1.0, 2.0)), "regions": ["whole=1+2"]},
            "which are 3; got 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        choose(LABELS, **given)

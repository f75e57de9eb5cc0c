"""The run configuration: settings from text, and one line for each broken rule."""

import pytest

from tfseg.config import TrainConfig, parse_duration, parse_settings, split_settings
from tfseg.errors import ConfigError
from tfseg.models import MODELS, model_config
from tfseg.plan import Plan

OPTIONS = ("base_filters", "depth", "norm")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800), (" 5 m ", 300)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "5 minutes", "m", "1e3", "1:30", "9" * 400])
def test_other_durations_are_refused(text):
    with pytest.raises(ConfigError, match=r"like 90s, 30m or 2h and above 0; got"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("sgd", "sgd"),
        ('"3"', "3"),
        ("64,64,32", [64, 64, 32]),
        ("0.5, 1.5", [0.5, 1.5]),
        ("[[1,2,2],[2,2,2]]", [[1, 2, 2], [2, 2, 2]]),
        ("zx", "zx"),
        ("", ""),
        ("a=b", "a=b"),
        ('{"flip": "x", "gamma": 0}', {"flip": "x", "gamma": 0}),
    ],
)
def test_values(text, value):
    assert parse_settings((f" key = {text}",)) == {"key": value}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("epochs",), r"--set must be key=value; got 'epochs'"),
        (("=3",), r"--set must be key=value; got '=3'"),
        (("epochs=3", "epochs=4"), r"--set epochs is given twice"),
    ],
)
def test_other_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings(settings)


def test_settings_go_where_their_key_belongs():
    settings = {
        "epochs": 3,
        "augmentation.flip": "x",
        "augmentation.noise": 0,
        "patch_size": [8, 8],
        "depth": 3,
        "faithful": True,
    }
    assert split_settings(settings, OPTIONS, "unet") == (
        {"epochs": 3, "augmentation": {"preset": "default", "flip": "x", "noise": 0}},
        {"patch_size": [8, 8]},
        {"depth": 3, "faithful": True},
    )


def test_no_key_has_two_owners():
    owners = [set(TrainConfig.model_fields), set(Plan.model_fields)]
    for name in MODELS:
        options = set(type(model_config(name)).model_fields) | {"faithful"}
        assert not options & owners[0]
        assert not options & owners[1]
    assert not owners[0] & owners[1]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("epoch", r"no setting is called 'epoch'\. Did you mean epochs"),
        ("patchsize", r"'patchsize'\. Did you mean patch_size"),
        ("base_filter", r"'base_filter'\. Did you mean base_filters"),
        ("zzzz", r"'zzzz'\. unet: base_filters, depth, norm\."),
        ("augmentation_flip", r"'augmentation_flip'\. Did you mean augmentation"),
        ("flip.augmentation", r"'flip\.augmentation'"),
    ],
)
def test_unknown_settings_name_the_nearest(key, message):
    with pytest.raises(ConfigError, match=message):
        split_settings({key: 1}, OPTIONS, "unet")


@pytest.mark.parametrize("key", ["model", "data", "options"])
def test_what_has_an_option_of_its_own_is_no_setting(key):
    with pytest.raises(ConfigError, match=f"no setting is called '{key}'") as caught:
        split_settings({key: 1}, OPTIONS, "unet")
    assert f"Did you mean {key}" not in str(caught.value)


@pytest.mark.parametrize("order", [1, -1])
def test_augmentation_as_a_whole_and_in_part_is_refused(order):
    settings = {"augmentation": {"gamma": 0}, "augmentation.flip": "x"}
    with pytest.raises(
        ConfigError, match="augmentation is given as a whole and by its part 'flip'"
    ):
        split_settings(dict(list(settings.items())[::order]), OPTIONS, "unet")


def test_a_set_of_augmentations_and_changes_to_it():
    settings = parse_settings(("augmentation=strong", "augmentation.blur=0.5"))
    run, _, _ = split_settings(settings, OPTIONS, "unet")
    changed = TrainConfig(model="unet", data="d", **run).augmentation
    strong = TrainConfig(model="unet", data="d", augmentation="strong").augmentation
    assert changed == strong.model_copy(update={"blur": 0.5})
    assert strong.elastic > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"epochs: .*greater than or equal to 1; got 0"),
        ({"fold": -1}, r"fold.*greater than or equal to 0; got -1"),
        ({"fold": "none"}, r"fold.*; got 'none'"),
        ({"optimizer": "adam"}, r"optimizer: .*'adamw' or 'sgd'; got 'adam'"),
        ({"learning_rate": 0}, r"learning_rate: .*greater than 0; got 0"),
        ({"learning_rate": float("nan")}, r"learning_rate: .*; got nan"),
        ({"clip_norm": float("inf")}, r"clip_norm: .*finite.*; got inf"),
        ({"time_budget_s": float("inf")}, r"time_budget_s: .*finite.*; got inf"),
        ({"foreground": 1.5}, r"foreground: .*less than or equal to 1; got 1.5"),
        ({"seed": 2**31}, r"seed: .*less than 2147483648; got 2147483648"),
        ({"replicas": 100}, r"replicas: .*; got 100"),
        ({"augmentation": {"flip": "xyq"}}, r"augmentation.flip: .*; got 'xyq'"),
        (
            {"augmentation": {"contrast_range": [0.5, float("inf")]}},
            r"augmentation.contrast_range.1: .*got inf",
        ),
        ({"augmentation": {"blurr": 1}}, r"augmentation.blurr: Extra inputs .*; got 1"),
        ({"augmentation": 5}, r"augmentation: .*; got 5"),
        ({"augmentation": "much"}, r"augmentation: preset must be one of none, default, .*'much'"),
        ({"epoch": 5}, r"epoch: Extra inputs are not permitted; got 5"),
    ],
)
def test_broken_rules_are_named_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=rf"--set: {message}") as caught:
        TrainConfig.parse({"model": "unet", "data": "d", **changes}, "--set")
    assert "\n" not in str(caught.value)


def test_the_customary_learning_rate():
    base = {"model": "unet", "data": "d"}
    assert TrainConfig(**base).initial_rate == 1e-3
    assert TrainConfig(**base, optimizer="sgd").initial_rate == 1e-2
    assert TrainConfig(**base, learning_rate=0.5).initial_rate == 0.5


def test_round_trip():
    config = TrainConfig(model="unet", data="d", augmentation={"flip": "x"}, options={"depth": 3})
    assert TrainConfig.parse(config.model_dump(mode="json"), "again") == config

"""``tfseg train --model PRESET``."""

import json


def test_a_preset_trains_its_network_with_its_settings(tfseg, tmp_path, balls, tiny):
    code, _, err = tfseg(
        "train", "--model", "star_fcn", "--data", balls, "--run", "run", *tiny, "--epochs", 1,
        "--fold", "all",
    )  # fmt: skip
    assert code == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"] == "unet"
    assert config["loss"] == "ce + 40*star_shape"


def test_what_is_given_goes_before_the_preset(tfseg, tmp_path, balls, tiny):
    code, _, err = tfseg(
        "train", "--model", "star_fcn", "--data", balls, "--run", "run", *tiny, "--epochs", 1,
        "--fold", "all", "--set", "loss=dice",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["loss"] == "dice"

"""``tfseg train --set loss=...``: any sum of losses trains."""

import csv
import json

import numpy as np
import pytest

from tfseg.losses import LOSSES, parse_loss

TRAINABLE = [
    name
    for name, info in LOSSES.items()
    # A file of weights is needed, which its own test makes.
    if info.kind == "supervised" and name != "perceptual_vgg16"
]


@pytest.fixture(scope="session")
def phantom_scans(tmp_path_factory):
    """Three synthetic CT scans."""
    from tfseg.datasets.phantom import make_phantom

    folder = tmp_path_factory.mktemp("phantom") / "scans"
    make_phantom(folder, kind="ct-abdomen", cases=3, seed=0)
    return folder


def losses_of(run):
    with (run / "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def train(tfseg, data, tiny, loss, *words):
    return tfseg(
        "train", "--model", "unet", "--data", data, "--run", "run", *tiny, "--set", f"loss={loss}",
        *words,
    )  # fmt: skip


def test_a_sum_with_options_and_a_map(tfseg, tmp_path, balls, tiny):
    loss = "dice(squared=True) + 0.5*focal(alpha=0.25, gamma=2) + unet_weighted_ce(sigma=3)"
    loss = loss.replace("squared=True", "form='squared'")
    code, _, err = train(tfseg, balls, tiny, loss, "--epochs", 3)
    assert code == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["loss"] == loss
    found = losses_of(tmp_path / "run")
    assert found[-1] < found[0]
    maps = list(tmp_path.glob("runs/.cache/*/*/map-*.npy")) + list(
        tmp_path.glob(".cache/*/*/map-*.npy")
    )
    assert len(maps) == 4  # one a training case; the held-out one needs none
    for file in maps:
        weights = np.load(file)
        label = np.load(file.with_name("label.npy"))
        assert weights.shape == label.shape
        assert weights.dtype == np.float32
    code, _, err = tfseg("train", "--run", "run", "--resume", "--epochs", 4)
    assert code == 0, err
    assert len(losses_of(tmp_path / "run")) == 4


def test_frequencies_are_those_of_the_training_cases(tfseg, tmp_path, balls, tiny):
    """Counted once, written into the run's configuration, so that a resumed run has the same."""
    code, _, err = train(
        tfseg, balls, tiny, "dice + 0.5*median_freq_ce", "--epochs", 1, "--fold", "all"
    )
    assert code == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    cached = sorted(tmp_path.glob(".cache/*/*/label.npy"))
    ball = sum(np.load(file).sum() for file in cached) / sum(np.load(file).size for file in cached)
    dice, weighted = parse_loss(config["loss"])
    assert (dice.info.name, weighted.weight) == ("dice", 0.5)
    assert weighted.options["frequencies"] == pytest.approx((1 - ball, ball), rel=1e-5)
    code, _, err = tfseg("train", "--run", "run", "--resume", "--epochs", 2)
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["loss"] == config["loss"]


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("dise", "unknown loss 'dise'. Did you mean dice"),
        ("dice +", "must be a sum like dice + 0.5*focal(gamma=2)"),
        ("focal(gamma=-1)", "focal: gamma: "),
        ("lsgan_generator", "cannot be trained with by itself"),
        ("unet_weighted_ce(sigma=3) + unet_weighted_ce(sigma=4)", "one voxel map at most"),
    ],
)
def test_bad_input_losses(tfseg, tmp_path, balls, tiny, loss, said):
    code, _, err = train(tfseg, balls, tiny, loss)
    assert code == 2
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "run").exists()


# The histogram's weights keep the value of this one near 1; beside another it can be seen to work.
CALLS = {"ghm": "ghm + ce"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_twenty_steps_lower_every_loss(tfseg, tmp_path, phantom_scans, tiny, name):
    loss = CALLS.get(name, name)
    code, _, err = train(tfseg, phantom_scans, tiny, loss, "--fold", "all", "--epochs", 5)
    assert code == 0, err
    found = losses_of(tmp_path / "run")
    assert len(found) == 5  # epochs of 4 steps
    assert min(found[3:]) < found[0]

"""Sums of losses as text: what is read, what is refused, what survives saving."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.losses import LOSSES, build_loss, loss_info, parse_loss


def sample(classes=3, size=(4, 4), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (2, *size))
    return labels, rng.normal(size=(2, *size, classes)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dice", "dice"),
        ("dice_loss", "dice"),
        (" dice + ce ", "dice | ce"),
        ("dice + 0.5*focal(gamma=2)", "dice | 0.5*focal(gamma=2)"),
        ("2*ce - 0.1*entropy", "2*ce | -0.1*entropy"),
        ("1e-1*(ce)", "0.1*ce"),
        ("ce(class_weights=[1, 2, 3])", "ce(class_weights=[1, 2, 3])"),
        ("dice(include_background=true, per_image=False)", None),
    ],
)
def test_sums_are_read(text, expected):
    terms = parse_loss(text)
    if expected:
        assert " | ".join(map(str, terms)) == expected
    else:
        assert terms[0].options == {"include_background": True, "per_image": False}


def test_the_sum_is_the_sum():
    labels, logits = sample()
    parts = [
        float(build_loss(text)(labels, logits)) for text in ("dice", "ce", "tversky(alpha=0.2)")
    ]
    total = build_loss("dice + 0.5*ce - 2*tversky(alpha=0.2)")(labels, logits)
    assert total.numpy() == pytest.approx(parts[0] + 0.5 * parts[1] - 2 * parts[2], rel=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a sum like"),
        ("dice +", "got 'dice +'"),
        ("ce*2", "got 'ce*2'"),
        ("-ce", "got '-ce'"),
        ("dice/2", "got 'dice/2'"),
        ("dise", "unknown loss 'dise'. Did you mean dice"),
        ("focal(2)", "options of a loss are given by name"),
        ("focal(**{})", "options of a loss are given by name"),
        ("focal(gamma=x)", "must be a sum like"),
        ("focal(gamma=__import__('os'))", "must be a sum like"),
        ("__import__('os').system('true')", "must be a sum like"),
        ("focal(gama=2)", "focal has no option 'gama'"),
        ("dice(smooth=-1)", "dice: smooth: "),
        ("dice(class_weights=[])", "dice: class_weights: "),
        ("dice(class_weights=[1, -1])", "class_weights"),
        ("dice(class_weights=[0, 0])", "one class weight at least must be above 0"),
        ("ce(voxel_reduction='median')", "voxel_reduction"),
        ("1e999*ce", "must be a finite number; got 1e309"),
        ("True*ce", "must be a finite number; got True"),
        ("lsgan_generator", "cannot be trained with by itself"),
        ("ce + " * 30 + "ce", "at most 20 terms; got 31"),
        ("(" * 500 + "ce" + ")" * 500, "must be a sum like"),
        ("ce" + " " * 3000, "at most 2000 characters; got 3002"),
        ("ce\0", "must be a sum like"),
    ],
)
def test_bad_input_sums_are_refused(text, said):
    with pytest.raises(ConfigError) as caught:
        build_loss(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "labels", "said"),
    [
        ("ce(class_weights=[1, 2])", None, "one entry a class (3"),
        ("dice(class_weights=[1, 0, 0])", None, "a class weight above 0"),
        ("dice(ignore_index=255)", np.zeros((2, 4, 4, 3)), "needs integer labels"),
        ("ce", np.zeros((2, 4, 5), int), "must cover the same voxels"),
    ],
)
def test_bad_input_that_only_the_batch_shows(expression, labels, said):
    given, logits = sample()
    with pytest.raises(ConfigError) as caught:
        build_loss(expression)(given if labels is None else labels, logits)
    assert said in str(caught.value)


def test_multi_label_targets_need_their_channels():
    labels, logits = sample()
    with pytest.raises(ConfigError, match="one channel a class"):
        build_loss("ce", multi_label=True)(labels, logits)


def test_it_survives_a_saved_network(tmp_path):
    """The loss travels in a .keras file, loaded in safe mode."""
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 1)])
    loss = build_loss("dice + 0.5*focal(gamma=2)", reduction="sum")
    network.compile(optimizer=keras.optimizers.SGD(), loss=loss)
    network.optimizer.build(network.trainable_variables)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    assert loaded.loss.expression == "dice + 0.5*focal(gamma=2)"
    labels, logits = sample()
    assert loaded.loss(labels, logits) == network.loss(labels, logits)


@pytest.mark.parametrize("weights", ["none", "one a sample", "one a voxel"])
def test_keras_fits_with_it(weights):
    labels, _ = sample()
    image = np.eye(3)[labels].astype(np.float32)
    given = {"none": None, "one a sample": np.ones(2), "one a voxel": np.ones(labels.shape)}
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(3, 1)])
    network.compile(optimizer=keras.optimizers.Adam(0.1), loss=build_loss("dice + ce"))
    first = network.evaluate(image, labels, verbose=0)
    network.fit(image, labels, sample_weight=given[weights], epochs=20, verbose=0)
    assert network.evaluate(image, labels, verbose=0) < 0.5 * first


@pytest.mark.parametrize("reduction", ["none", "sum", "sum_over_batch_size"])
def test_reductions_and_sample_weights(reduction):
    labels, logits = sample()
    each = build_loss("dice + ce").per_sample(labels, logits).numpy()
    weight = np.array([2.0, 0.5], np.float32)
    found = build_loss("dice + ce", reduction=reduction)(labels, logits, weight).numpy()
    expected = {"none": each * weight, "sum": (each * weight).sum()}
    expected["sum_over_batch_size"] = expected["sum"] / 2
    np.testing.assert_allclose(found, expected[reduction], rtol=1e-6)


def test_voxel_weights_by_hand():
    """-log q is .223144 .510826 .356675 .105361; the second counts 5.867523 times."""
    q = np.array([0.8, 0.6, 0.3, 0.1])
    logits = np.log(q / (1 - q))[np.newaxis, :, np.newaxis]
    weights = np.array([[1, 5.867523, 1, 1]])
    found = build_loss("ce")(np.array([[1, 1, 0, 0]]), logits, weights)
    assert found.numpy() == pytest.approx(0.920616, abs=1e-6)


def test_every_alias_names_one_loss():
    aliases = [alias for info in LOSSES.values() for alias in info.aliases]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(LOSSES)
    for alias in aliases:
        assert alias in loss_info(alias).aliases


def test_batch_overlap_is_of_the_whole_batch():
    """A sample without the class costs its share of the batch's Dice, not a score of its own."""
    labels = np.zeros((2, 8), int)
    labels[0, :4] = 1
    logits = 8.0 * (2 * np.eye(2)[labels] - 1)
    logits[1, 0] = [-8, 8]  # one false voxel in the empty sample
    each = build_loss("dice(smooth=0)").per_sample(labels, logits).numpy()
    both = build_loss("dice(smooth=0, per_image=False)").per_sample(labels, logits).numpy()
    assert each == pytest.approx([0, 1], abs=1e-4)
    assert both == pytest.approx([1 - 2 * 4 / (4 + 5)] * 2, abs=1e-4)


def test_importing_the_names_imports_no_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys; from tfseg.losses import parse_loss; parse_loss('dice + ce');"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_maps_are_one_too_many():
    loss = build_loss("unet_weighted_ce(sigma=5) + unet_weighted_ce(sigma=3)")
    with pytest.raises(ConfigError, match="one voxel map at most"):
        loss.map_maker()
    make, key = build_loss("dice + unet_weighted_ce(sigma=3)").map_maker()
    assert "'sigma': 3" in key
    labels = np.zeros((8, 8), np.uint8)
    labels[1, 1] = labels[6, 6] = 1
    assert make(labels).dtype == np.float32
    assert build_loss("dice + ce").map_maker() is None

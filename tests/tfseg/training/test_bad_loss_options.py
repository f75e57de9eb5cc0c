"""Options of losses that ``tfseg train`` refuses before anything is written."""

import pytest


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("wce(beta=-1)", ("wce: beta", "greater than or equal to 0", "got -1")),
        ("wce(beta='two')", ("wce: beta", "'two'")),
        ("balanced_ce(beta=1.5)", ("balanced_ce: beta", "less than or equal to 1", "got 1.5")),
        ("balanced_ce(clamp=0.6)", ("balanced_ce: clamp", "less than or equal to 0.5", "got 0.6")),
        ("median_freq_ce(frequencies=[0.9, 0])", ("frequencies", "greater than 0", "got 0")),
        ("dynamic_class_ce(background_limit=2)", ("background_limit", "got 2")),
        ("unet_weighted_ce(sigma=0)", ("unet_weighted_ce: sigma", "greater than 0", "got 0")),
        ("unet_weighted_ce(w0=-10)", ("unet_weighted_ce: w0", "got -10")),
        ("edge_weighted_ce(width=0)", ("edge_weighted_ce: width", "got 0")),
        ("edge_weighted_ce(width=1.5)", ("edge_weighted_ce: width", "1.5")),
        ("focal(alpha=2)", ("focal: alpha", "got 2")),
        ("ghm(bins=0)", ("ghm: bins", "got 0")),
        ("conservative(variant='signed')", ("conservative: variant", "'signed'")),
        ("size_constraint(bounds=[10, 3])", ("size_constraint: bounds", "(10.0, 3.0)")),
        ("star_shape(centre=3)", ("star_shape has no option 'centre'",)),
        ("ce(ignore_index=2.5)", ("ce: ignore_index", "2.5")),
        # These fit no network of two classes.
        ("wce(beta=[1, 2, 3])", ("beta must have one entry a class (2", "got 3")),
        ("focal(alpha=[1])", ("alpha must have one entry a class (2", "got 1")),
        ("median_freq_ce(frequencies=[1])", ("frequencies must have one entry a class", "got 1")),
        ("size_constraint(bounds=[[1, 2]])", ("bounds must have one pair a class (2", "got 1")),
        ("ce(class_weights=[1, 2, 3])", ("class_weights must have one entry a class (2", "got 3")),
        ("ce + size_constraint(bounds=[1, 2], tolerance=0)", ("takes bounds or tolerance",)),
    ],
)
def test_bad_input_loss_options(tfseg, tmp_path, balls, tiny, loss, said):
    code, out, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--run", "run", *tiny, "--set", f"loss={loss}"
    )
    assert code == 2, err
    assert not out
    assert err.count("\n") == 1
    for words in said:
        assert words in err
    assert not (tmp_path / "run").exists()

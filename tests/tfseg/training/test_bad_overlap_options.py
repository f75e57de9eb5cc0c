"""Options of overlap and regression losses out of their rules: one line, nothing written."""

import pytest


@pytest.mark.parametrize(
    ("loss", "rule", "given"),
    [
        ("dice(form='l2')", "must be squared, or the loss falls below 0: use 'squared'", "'l2'"),
        ("dice(form='cubic')", "dice: form: Input should be 'l1' or 'squared'", "'cubic'"),
        ("dice(smooth=-1)", "dice: smooth: Input should be greater than or equal to 0", "-1"),
        ("iou(form='l1')", "iou has no option 'form'. Its options: smooth, ", "form"),
        ("tversky(alpha=0)", "tversky: alpha: Input should be greater than 0", "got 0"),
        ("tversky(seed_literal=2)", "tversky: seed_literal: Input should be a valid boolean", "2"),
        ("focal_tversky(gamma=0)", "focal_tversky: gamma: Input should be greater than 0", "0"),
        ("attention_dice(beta=-0.5)", "attention_dice: beta: Input should be greater", "-0.5"),
        ("combo(alpha=2)", "combo: alpha: Input should be less than or equal to 1", "got 2"),
        ("exp_log(smooth=0)", "exp_log: smooth: Input should be greater than 0", "got 0"),
        ("exp_log(frequencies=(1, 0))", "frequencies.1: Input should be greater than 0", "got 0"),
        ("smooth_l1(beta=0)", "smooth_l1: beta: Input should be greater than 0", "got 0"),
        ("multiscale_l1(levels=9)", "levels: Input should be less than or equal to 8", "got 9"),
        ("multiscale_l1(mode='sum')", "mode: Input should be 'mean' or 'concat'", "'sum'"),
        ("perceptual_vgg16", "a local file of VGG16's weights is needed", "got None"),
        ("perceptual_vgg16(weights='no.h5')", "must be a file ending in .h5", "got 'no.h5'"),
        ("0.5*gan_generator", "gan_generator is no loss of labels", "adversarial"),
        ("feature_matching", "feature_matching is no loss of labels", "regression"),
        # Fits no network of two classes.
        ("exp_log(frequencies=(1, 2, 3))", "frequencies must have one entry a class (2", "got 3"),
    ],
)
def test_bad_input_overlap_options(tfseg, tmp_path, balls, tiny, loss, rule, given):
    code, out, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--run", "run", *tiny, "--set", f"loss={loss}"
    )
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert rule in err
    assert given in err
    assert list(tmp_path.iterdir()) == []


def test_bad_input_weights_that_do_not_fit(tfseg, tmp_path, balls, tiny):
    file = tmp_path / "notes.h5"
    file.write_text("not weights")
    code, _, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--run", "run", *tiny,
        "--set", "loss=perceptual_vgg16(weights='notes.h5')",
    )  # fmt: skip
    assert code == 2
    assert err.count("\n") == 1
    assert "must fit VGG16 without its classifier" in err
    assert "notes.h5" in err
    assert list(tmp_path.iterdir()) == [file]

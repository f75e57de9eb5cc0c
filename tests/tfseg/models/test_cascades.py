"""Cascades: published counts, what flows from stage to stage, and what is trained when."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.models import build, inference_model, model_config
from tfseg.models.config import Stage

TWO_LEVELS = {"base_filters": 4, "depth": 2}
TINY = {
    "autocontext": {"base_filters": 4, "stage_options": {"depth": 2}},
    "cascaded_vnet": {"base_filters": 4, "encoder": (1, 1), "decoder": (1,)},
    "cfcn": TWO_LEVELS,
    "unet3d_two_stage": TWO_LEVELS,
    "detect_then_segment": TWO_LEVELS,
}


def counted(name, shape, classes, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build(name, shape, classes, **options)


def parameters(model, prefix):
    """Trainable and all parameters of the layers with a prefix."""
    return tuple(
        sum(math.prod(weight.shape) for weight in weights if weight.path.startswith(prefix))
        for weights in (model.trainable_weights, model.weights)
    )


def tiny(name, rank=2, classes=2, **options):
    keras.utils.set_random_seed(0)
    return build(name, (16,) * rank + (1,), classes, **TINY[name], **options)


def image(rank=2, batch=1):
    return np.random.default_rng(0).normal(size=(batch, *(16,) * rank, 1)).astype(np.float32)


def test_cascaded_vnet_has_the_presets_networks():
    model = counted("cascaded_vnet", (64, 64, 64, 4), 4, faithful=True)
    assert parameters(model, "region_") == (14_701_442, 14_708_354)
    assert parameters(model, "labels_") == (14_701_508, 14_708_420)
    assert [output.shape[1:] for output in model.outputs] == [(64,) * 3 + (4,), (64,) * 3 + (2,)]


def test_unet3d_two_stage_has_the_presets_networks_and_sizes():
    model = counted("unet3d_two_stage", (96, 288, 288, 1), 2, faithful=True, window=(96, 160, 240))
    assert parameters(model, "coarse_") == parameters(model, "fine_") == (5_646_402, 5_649_346)
    assert model.get_layer("coarse_image").output.shape == (None, 48, 144, 144, 1)
    assert model.get_layer("window").output[0].shape == (None, 96, 160, 240, 1)


def test_cfcn_is_two_unpadded_unets():
    model = counted("cfcn", (572, 572, 1), 3, faithful=True)
    assert parameters(model, "organ_") == parameters(model, "lesion_") == (31_030_658,) * 2
    assert [output.shape[1:] for output in model.outputs] == [
        (388, 388, classes) for classes in (3, 2, 2)
    ]
    # Around the box the second network sees what its convolutions take off: 92 on each side.
    assert model.get_layer("box").output[0].shape == (None, 572, 572, 1)


@pytest.mark.parametrize(("rank", "classes"), [(2, 4), pytest.param(3, 2, marks=pytest.mark.slow)])
def test_cascaded_vnet_has_no_foreground_outside_the_region(rank, classes):
    logits, region = tiny("cascaded_vnet", rank, classes)(20 * image(rank))
    p = tf.nn.softmax(logits).numpy()
    outside = region.numpy()[..., 0] >= region.numpy()[..., 1]
    assert 0 < outside.mean() < 1
    assert (p[outside][:, 1:] == 0).all()
    assert (p[~outside][:, 1:] > 0).any()


@pytest.mark.parametrize(("rank", "classes"), [(2, 5), pytest.param(3, 3, marks=pytest.mark.slow)])
def test_cfcn_has_lesions_in_the_organ_only(rank, classes):
    logits, organ, lesions = tiny("cfcn", rank, classes)(20 * image(rank))
    p, p_organ = tf.nn.softmax(logits).numpy(), tf.nn.softmax(organ).numpy()
    outside = p_organ[..., 1] <= 0.5
    assert 0 < outside.mean() < 1
    assert (p[outside][:, 2:] == 0).all()
    # The chain rule: lesions share what the organ has.
    np.testing.assert_allclose(p[..., 1:].sum(-1), p_organ[..., 1], atol=1e-5)
    p_lesion = tf.nn.softmax(lesions).numpy()[..., 1:]
    np.testing.assert_allclose(p[..., 2:], p_organ[..., 1:] * p_lesion, atol=1e-5)
    labels = logits.numpy().argmax(-1)
    assert not (labels > 1)[organ.numpy().argmax(-1) == 0].any()


def test_cfcn_learns_groups_of_labels():
    config = model_config("cfcn")
    assert config.label_groups(4) == (None, (0, 1, 1, 1), (0, 0, 1, 2))
    assert config.label_groups(2) == (None, (0, 1), None)


def test_the_second_cfcn_sees_nothing_but_the_organ():
    model = tiny("cfcn", classes=3)
    inner = keras.Model(
        model.input, [model.get_layer("masked").output, model.get_layer("organ_weight").output]
    )
    masked, weight = inner(image())
    np.testing.assert_allclose(masked, image() * weight)
    assert (masked.numpy()[weight.numpy() == 0] == 0).all()


def test_autocontext_adds_the_last_stages_probabilities_to_the_image():
    model = tiny("autocontext", classes=3, stages_count=3)
    seen = [model.get_layer(f"stage{number}_context").output for number in (1, 2)]
    context = keras.Model(model.input, [*seen, *model.outputs])
    first, second, last, one, two = context(image())
    for given, said in ((first, one), (second, two)):
        np.testing.assert_array_equal(given[..., :1], image())
        np.testing.assert_allclose(given[..., 1:], tf.nn.softmax(said), atol=1e-6)
    assert model.get_layer("stage2_encoder0_1_conv").input.shape[-1] == 1 + 3
    assert last.shape == (1, 16, 16, 3)


@pytest.mark.parametrize("stage", ["acnn", pytest.param("pspnet", marks=pytest.mark.slow)])
def test_any_network_can_be_a_stage(stage):
    model = counted("autocontext", (32, 32, 1), 2, stage=stage, base_filters=4)
    assert [output.shape for output in model.outputs] == [(None, 32, 32, 2)] * 2
    single = counted(stage, (32, 32, 1), 2, base_filters=4)
    assert parameters(model, "stage1_")[0] <= parameters(single, "")[0]


@pytest.mark.parametrize("rank", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_two_stages_answer_coarsely_around_the_window(rank):
    model = tiny("unet3d_two_stage", rank, window=(8,) * rank)
    window = model.get_layer("window").output
    wanted = [model.outputs[0], model.get_layer("coarse_resized").output, window[1]]
    answer, coarse, place = keras.Model(model.input, [*wanted])(image(rank))
    inside = np.zeros((16,) * rank, bool)
    first = place.numpy()[0, :, 0].astype(int)
    inside[tuple(slice(low, low + 8) for low in first)] = True
    np.testing.assert_array_equal(answer[0][~inside], coarse[0][~inside])
    assert not np.allclose(answer[0][inside], coarse[0][inside])
    shut = tiny("unet3d_two_stage", rank, window=(8,) * rank, outside="background")
    p = tf.nn.softmax(shut(image(rank))[0]).numpy()[0]
    assert (p[~inside][:, 1] == 0).all()
    np.testing.assert_array_equal(shut(image(rank))[0][0][inside], answer[0][inside])


def test_a_window_as_large_as_the_input_shows_the_fine_network_all():
    model = tiny("unet3d_two_stage", window=(64, 64))
    cut = keras.Model(model.input, model.get_layer("window").output[0])
    np.testing.assert_array_equal(cut(image()), image())


def test_the_segmenter_sees_the_box_that_the_detector_found():
    model = tiny("detect_then_segment", size=(8, 8), margin=0.0)
    found = keras.Model(model.input, [model.outputs[1], *model.get_layer("box").output])
    detector, cut, box = found(image())
    cells = np.argwhere(detector.numpy()[0].argmax(-1))
    low, high = cells.min(0), cells.max(0) + 1
    np.testing.assert_array_equal(box[0], np.stack([low, high - low], -1) * 2)
    assert cut.shape == (1, 8, 8, 1)
    p = tf.nn.softmax(model(image())[0]).numpy()[0, ..., 1]
    assert (np.argwhere(p > 0).min(0) == 2 * low).all()
    assert (np.argwhere(p > 0).max(0) + 1 == 2 * high).all()


@pytest.mark.parametrize("name", TINY)
def test_one_stage_after_the_other_by_default(name):
    config = model_config(name, **TINY[name])
    stages = config.training_stages()
    model = counted(name, (32, 32, 1), 3, **TINY[name])
    layers = [layer.name for layer in model.layers if layer.weights]
    owners = [
        [stage.prefix for stage in stages if layer.startswith(stage.prefix)] for layer in layers
    ]
    assert all(len(owner) == 1 for owner in owners)
    assert {len(stage.loss_weights) for stage in stages} == {len(model.outputs)}
    assert all(sum(stage.loss_weights) == 1 for stage in stages)
    joint = model_config(name, **TINY[name], stages="joint").training_stages()
    total = tuple(sum(weights) for weights in zip(*(s.loss_weights for s in stages), strict=True))
    assert joint == (Stage("", total),)


@pytest.mark.parametrize("name", TINY)
def test_each_stages_output_trains_its_layers_alone(name):
    """Later stages do not reach an earlier one, but through autocontext's probabilities."""
    model = tiny(name, classes=3)
    stages = model_config(name, **TINY[name]).training_stages()
    with tf.GradientTape(persistent=True) as tape:
        answers = [tf.reduce_sum(answer**2) for answer in model(image(), training=True)]
    for stage in stages:
        used = answers[stage.loss_weights.index(1.0)]
        gradients = tape.gradient(used, [weight.value for weight in model.trainable_weights])
        reached = {
            weight.path.split("_")[0]
            for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
            if gradient is not None
        }
        if name == "autocontext":
            assert stage.prefix.rstrip("_") in reached
        elif name == "unet3d_two_stage":  # the coarse answer stays around the window
            assert reached <= {"coarse", stage.prefix.rstrip("_")}
        else:
            assert reached == {stage.prefix.rstrip("_")}


def test_the_inference_network_keeps_all_stages():
    model = tiny("cascaded_vnet")
    alone = inference_model(model)
    assert len(alone.weights) == len(model.weights)


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("autocontext", (16, 16, 1), {"stage": "cfcn"}, "stage must be a single .* 'cfcn'"),
        ("autocontext", (16, 16, 1), {"stage": "unett"}, "unknown model 'unett'"),
        ("autocontext", (16, 16, 1), {"stage": "resnet50"}, "'resnet50', a backbone"),
        ("autocontext", (16, 16, 1), {"stages_count": 1}, "stages_count: .* 2; got 1"),
        ("autocontext", (16, 16, 1), {"stage_options": {"deep": 1}}, "unet has no option 'deep'"),
        ("autocontext", (20, 16, 1), {}, r"divisible by \(16, 16\); got \(20, 16\)"),
        (
            "autocontext", (188, 188, 1), {"stage_options": {"padding": "valid", "pooling": "max"}},
            r"(divisible|answer at the input's size)",
        ),
        ("cfcn", (24, 20, 1), {}, r"divisible by \(8, 8\); got \(24, 20\)"),
        ("cfcn", (None, None, 1), {"padding": "valid"}, "fixed input size"),
        ("cascaded_vnet", (24, 16, 1), {}, r"divisible by \(16, 16\); got \(24, 16\)"),
        ("unet3d_two_stage", (24, 32, 1), {}, r"divisible by \(16, 16\); got \(24, 32\)"),
        ("unet3d_two_stage", (32, 32, 1), {"window": (12, 16)}, r"window .*\(8, 8\); got \(12, 16"),
        ("unet3d_two_stage", (32, 32, 1), {"window": (8,)}, r"window must have 2 edges"),
        ("detect_then_segment", (32, 32, 1), {"size": (12, 16)}, r"size must have 2 edges .*\(12"),
        ("detect_then_segment", (32, 32, 1), {"margin": 2}, "margin: .*got 2"),
    ],
)  # fmt: skip
def test_options_and_sizes_that_do_not_fit(name, shape, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, shape, 2, **options)

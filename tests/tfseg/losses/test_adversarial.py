"""The terms of adversarial training: worked values, identities, half precision."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.losses import adversarial
from tfseg.losses.features import feature_matching, multiscale_l1_term
from tfseg.losses.regression import mean_absolute


def logit(*probabilities, dtype=np.float64):
    """One sample with one patch a probability, (1, n)."""
    p = np.array([probabilities], dtype)
    return tf.constant(np.log(p / (1 - p)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def steep(x):
    """A critic whose slope is (3, 4)."""
    return tf.linalg.matvec(x, tf.constant([3.0, 4.0], tf.float64))


def row(*values, dtype=np.float64):
    return tf.constant([values], dtype)


# What a term makes of its worked inputs, as a function of the dtype.
WORKED = {
    "-log D(x) - log(1 - D(G)), .9 and .2": (
        lambda d: adversarial.gan_discriminator(logit(0.9, dtype=d), logit(0.2, dtype=d)),
        0.328504,
    ),
    "Luc: .5 - .1 (.105361 + .223144)": (
        lambda d: adversarial.luc_hybrid(
            tf.constant([0.5], d), logit(0.9, dtype=d), logit(0.2, dtype=d)
        ),
        0.467150,
    ),
    "generator, saturating, .2": (
        lambda d: adversarial.gan_generator(logit(0.2, dtype=d), saturating=True),
        -0.223144,
    ),
    "generator, .2": (lambda d: adversarial.gan_generator(logit(0.2, dtype=d)), 1.609438),
    "LSGAN D": (
        lambda d: adversarial.lsgan_discriminator(row(0.9, dtype=d), row(0.2, dtype=d)),
        0.025,
    ),
    "LSGAN G": (lambda d: adversarial.lsgan_generator(row(0.2, dtype=d)), 0.64),
    "energy D: 3 + max(0, 32 - 20)": (
        lambda d: adversarial.energy_discriminator(row(3, dtype=d), row(20, dtype=d)),
        15,
    ),
    "energy D beyond the margin": (
        lambda d: adversarial.energy_discriminator(row(3, dtype=d), row(40, dtype=d)),
        3,
    ),
    "energy G": (lambda d: adversarial.energy_generator(row(20, dtype=d)), 20),
    "Wasserstein critic": (
        lambda d: adversarial.wgan_critic(row(3, 1, dtype=d), row(0, 1, dtype=d)),
        -1.5,
    ),
    "Wasserstein generator": (lambda d: adversarial.wgan_generator(row(0, 1, dtype=d)), -0.5),
    "few shots, unlabelled, logits (1, 0)": (
        lambda d: adversarial.fewshot_unlabelled(row([1, 0], dtype=d)),
        0.119092,
    ),
    "few shots, fake, logits (0, -1)": (
        lambda d: adversarial.fewshot_fake(row([0, -1], dtype=d)),
        0.430997,
    ),
    "KL, mean (.5, 0), variance (1, .5)": (
        lambda d: adversarial.kl_normal(row(0.5, 0, dtype=d), row(0, np.log(0.5), dtype=d)),
        0.221574,
    ),
    "cycle": (
        lambda d: adversarial.cycle_l1(row(1, 2, dtype=d), row(1.5, 1, dtype=d)),
        7.5,
    ),
    "identity": (
        lambda d: adversarial.identity_l1(row(1, 2, dtype=d), row(1.5, 1, dtype=d)),
        3.75,
    ),
}


@pytest.mark.parametrize("case", list(WORKED))
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-6), (np.float32, 1e-5)])
def test_worked_by_hand(case, dtype, apart):
    term, expected = WORKED[case]
    answer = term(dtype).numpy()
    assert answer.shape == (1,)
    assert answer.dtype == dtype
    assert answer == pytest.approx([expected], abs=apart)


def test_few_shots_probability_of_being_real():
    """exp(-2 loss) of the unlabelled term is D = Z / (Z + 1), .788058 of logits (1, 0)."""
    real = np.exp(-2 * adversarial.fewshot_unlabelled(row([1, 0])).numpy())
    assert real == pytest.approx([0.788058], abs=1e-6)
    fake = 1 - np.exp(-2 * adversarial.fewshot_fake(row([1, 0])).numpy())
    assert fake == pytest.approx(real)


def test_few_shots_in_the_form_of_the_authors_code():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 3))
    u = np.log(np.exp(logits).sum(-1))
    mean = u.reshape(2, -1).mean(1)
    softplus = np.log1p(np.exp(u)).reshape(2, -1).mean(1)
    np.testing.assert_allclose(
        adversarial.fewshot_unlabelled(tf.constant(logits)), -0.5 * mean + 0.5 * softplus
    )
    np.testing.assert_allclose(adversarial.fewshot_fake(tf.constant(logits)), 0.5 * softplus)


def test_patches_are_averaged_and_samples_kept_apart():
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(2, 3, 3, 1)), rng.normal(size=(2, 3, 3, 1))
    each = -np.log(sigmoid(real)) - np.log(1 - sigmoid(fake))
    answer = adversarial.gan_discriminator(tf.constant(real), tf.constant(fake))
    np.testing.assert_allclose(answer, each.mean((1, 2, 3)))
    alone = adversarial.gan_generator(tf.constant([0.3, -2.0]))  # one logit a sample
    np.testing.assert_allclose(alone, -np.log(sigmoid(np.array([0.3, -2.0]))), rtol=1e-6)


def test_pan_projection_of_columns():
    """(.2, .5, .3) gives 1 - exp(-1), an empty column 0."""
    volume = np.zeros((1, 3, 1, 2, 1))
    volume[0, :, 0, 0, 0] = 0.2, 0.5, 0.3
    answer = adversarial.pan_projection(tf.constant(volume)).numpy()
    assert answer.shape == (1, 1, 2, 1)
    assert answer.ravel() == pytest.approx([0.632121, 0], abs=1e-6)


def test_gradient_penalty_of_a_linear_critic_is_known():
    """C(x) = 3 x_1 + 4 x_2 has slope 5 everywhere: 10 (5 - 1)^2; of length 1, nothing."""
    rng = np.random.default_rng(2)
    real, fake = (tf.constant(rng.normal(size=(3, 2))) for _ in range(2))
    mix = tf.constant(rng.uniform(size=3))
    np.testing.assert_allclose(adversarial.gradient_penalty(steep, real, fake, mix), [160] * 3)
    answer = adversarial.gradient_penalty(lambda x: steep(x) / 5, real, fake, mix, weight=7)
    np.testing.assert_allclose(answer, [0] * 3, atol=1e-12)


def test_gradient_penalty_is_taken_between_the_images():
    """C(x) = x^2 / 2 has slope |x|: at x = .25 * 4 + .75 * 8 = 7, (7 - 1)^2."""
    answer = adversarial.gradient_penalty(
        lambda x: x**2 / 2, row(4.0), row(8.0), tf.constant([0.25], tf.float64), weight=1
    )
    np.testing.assert_allclose(answer, [36])


def test_gradient_penalty_can_be_descended_at_a_constant_critic():
    scale = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        penalty = adversarial.gradient_penalty(
            lambda x: scale * x, tf.ones((2, 3)), tf.zeros((2, 3)), tf.constant([0.2, 0.7])
        )
    np.testing.assert_allclose(penalty, [10, 10], rtol=1e-4)
    assert np.isfinite(tape.gradient(penalty, scale).numpy())


def test_saturating_generator_has_no_gradient_where_it_matters():
    """At D = 4.5e-5 its slope is D; that of -log D is 1 - D."""
    fake = tf.constant([-10.0], tf.float64)
    slopes = []
    for saturating in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(fake)
            value = adversarial.gan_generator(fake, saturating=saturating)
        slopes.append(-tape.gradient(value, fake).numpy()[0])
    d = sigmoid(-10)
    np.testing.assert_allclose(slopes, [d, 1 - d])


EXTREME = {
    "gan_discriminator": 2,
    "gan_generator": 1,
    "lsgan_discriminator": 2,
    "lsgan_generator": 1,
    "energy_discriminator": 2,
    "energy_generator": 1,
    "wgan_critic": 2,
    "wgan_generator": 1,
    "fewshot_unlabelled": 1,
    "fewshot_fake": 1,
    "cycle_l1": 2,
    "identity_l1": 2,
    "pan_projection": 1,
}


@pytest.mark.parametrize("name", list(EXTREME))
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_extremes_are_finite_and_half_precision_is_widened(name, dtype):
    values = tf.constant([[[1e4, -1e4], [0, 1e4]], [[-1e4, -1e4], [1e4, 1e4]]], dtype)
    if name == "pan_projection":
        values = tf.nn.relu(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        given = [values, tf.reverse(values, [0])][: EXTREME[name]]
        answer = getattr(adversarial, name)(*given)
    assert answer.dtype == tf.float32
    assert np.isfinite(answer).all()
    assert np.isfinite(tape.gradient(answer, values)).all()


def test_feature_matching_worked_by_hand():
    """Means (1, 2) against (1.5, 1): (.5 + 1) / 2."""
    real = tf.constant([[0.0, 2.0], [2.0, 2.0]])
    fake = tf.constant([[1.5, 0.0], [1.0, 1.0], [2.0, 2.0]])
    assert feature_matching(real, fake).numpy() == pytest.approx(0.75)
    # The same, and a layer that differs by 2: the mean of both.
    layers = feature_matching([real, tf.ones((2, 3))], [fake, 3 * tf.ones((3, 3))])
    assert layers.numpy() == pytest.approx((0.75 + 2) / 2)


@pytest.mark.parametrize(("mode", "expected"), [("mean", 0.25), ("concat", 0.325)])
def test_multiscale_l1_over_given_features(mode, expected):
    """The worked example of the image at two scales, its taps computed here."""
    image = np.array([[1.0, 2], [3, 4]])
    real = image * np.array([[1.0, 0], [0, 1]])
    fake = image * np.array([[0.5, 0.5], [0, 1]])
    taps = [[tf.constant(x[np.newaxis]), tf.constant([x.mean()])] for x in (real, fake)]
    answer = multiscale_l1_term(*taps, mode=mode)
    np.testing.assert_allclose(answer, [expected], rtol=1e-12)


def test_multiscale_l1_of_one_layer_is_the_mean_distance():
    rng = np.random.default_rng(5)
    a, b = (tf.constant(rng.normal(size=(3, 4, 4, 2))) for _ in range(2))
    for mode in ("mean", "concat"):
        np.testing.assert_allclose(multiscale_l1_term([a], [b], mode=mode), mean_absolute(a, b))


@pytest.mark.parametrize("term", [feature_matching, multiscale_l1_term])
def test_other_numbers_of_layers_are_an_error(term):
    with pytest.raises(ConfigError, match="features of the same layers; got 2 and 1 layers"):
        term([tf.ones((1, 2))] * 2, [tf.ones((1, 2))])

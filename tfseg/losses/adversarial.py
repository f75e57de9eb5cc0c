"""Terms of adversarial training, for schemes that train more than one network.

Critics give logits, of any shape (batch, ...): one a sample, or one a patch or voxel. A term is
averaged over these and stays one value a sample, (batch,), unless it says otherwise. "Real" is
the critic's answer for what it should accept, "fake" that for what a generator made.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfseg.losses.regression import mean_absolute, sample_mean, widen


def gan_discriminator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Return -log D(real) - log(1 - D(fake)), (batch,) >= 0.

    Goodfellow et al. 2014, arXiv:1406.2661.

    Args:
        real: (batch, ...) logits of D.
        fake: (batch, ...) logits of D.
    """
    return sample_mean(tf.nn.softplus(-widen(real))) + sample_mean(tf.nn.softplus(widen(fake)))


def gan_generator(fake: tf.Tensor, *, saturating: bool = False) -> tf.Tensor:
    """Return -log D(fake), or log(1 - D(fake)) in the saturating form, (batch,).

    Goodfellow et al. 2014, arXiv:1406.2661: the second is the minimax game's, whose gradient
    vanishes while the discriminator wins; the first has the same fixed point.

    Args:
        fake: (batch, ...) logits of D.
        saturating: which.
    """
    fake = widen(fake)
    return sample_mean(-tf.nn.softplus(fake) if saturating else tf.nn.softplus(-fake))


def lsgan_discriminator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Return ((D(real) - 1)^2 + D(fake)^2) / 2, (batch,) >= 0.

    Mao et al. 2017, arXiv:1611.04076; D has no sigmoid.

    Args:
        real: (batch, ...) outputs of D.
        fake: (batch, ...) outputs of D.
    """
    return 0.5 * (sample_mean((widen(real) - 1) ** 2) + sample_mean(widen(fake) ** 2))


def lsgan_generator(fake: tf.Tensor) -> tf.Tensor:
    """Return (D(fake) - 1)^2, (batch,) >= 0; Mao et al. 2017, arXiv:1611.04076.

    Args:
        fake: (batch, ...) outputs of D.
    """
    return sample_mean((widen(fake) - 1) ** 2)


def energy_discriminator(real: tf.Tensor, fake: tf.Tensor, *, margin: float = 32.0) -> tf.Tensor:
    """Return E(real) + max(0, m - E(fake)), (batch,).

    E is the error with which an auto-encoder reconstructs its input. Zhao et al. 2017,
    arXiv:1609.03126; the margin of the Btrfly net, Sekuboyina et al. 2018, arXiv:1804.01307.

    Args:
        real: (batch, ...) energies >= 0.
        fake: (batch, ...) energies >= 0.
        margin: m, in the unit of the energies.
    """
    return sample_mean(widen(real)) + sample_mean(tf.nn.relu(margin - widen(fake)))


def energy_generator(fake: tf.Tensor) -> tf.Tensor:
    """Return E(fake), (batch,); Zhao et al. 2017, arXiv:1609.03126.

    Args:
        fake: (batch, ...) energies >= 0.
    """
    return sample_mean(widen(fake))


def wgan_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Return C(fake) - C(real), (batch,); Arjovsky et al. 2017, arXiv:1701.07875.

    The critic must be kept smooth: clip its weights, or add :func:`gradient_penalty`.

    Args:
        real: (batch, ...) outputs of C.
        fake: (batch, ...) outputs of C.
    """
    return sample_mean(widen(fake)) - sample_mean(widen(real))


def wgan_generator(fake: tf.Tensor) -> tf.Tensor:
    """Return -C(fake), (batch,); Arjovsky et al. 2017, arXiv:1701.07875.

    Args:
        fake: (batch, ...) outputs of C.
    """
    return -sample_mean(widen(fake))


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    mix: tf.Tensor,
    *,
    weight: float = 10.0,
) -> tf.Tensor:
    """Return w (|grad C(x)| - 1)^2 at x = mix real + (1 - mix) fake, (batch,) >= 0.

    Gulrajani et al. 2017, arXiv:1704.00028. A critic that mixes samples (batch normalisation) is
    not of the kind that this is for.

    Args:
        critic: maps (batch, ...) inputs to (batch, ...) outputs.
        real: (batch, ...) inputs of the critic.
        fake: the same shape.
        mix: (batch,) uniform in [0, 1]: the caller's random numbers.
        weight: w.
    """
    axes = list(range(1, len(real.shape)))
    mix = tf.reshape(mix, [-1] + [1] * len(axes))
    between = mix * real + (1 - mix) * fake
    with tf.GradientTape() as tape:
        tape.watch(between)
        answer = critic(between)
    squares = tf.reduce_sum(widen(tape.gradient(answer, between)) ** 2, axes)
    # The root's slope is infinite at 0, which a constant critic reaches.
    norm = tf.sqrt(tf.maximum(squares, 1e-12))
    return weight * (norm - 1) ** 2


def luc_hybrid(
    segmentation: tf.Tensor, real: tf.Tensor, fake: tf.Tensor, *, weight: float = 0.1
) -> tf.Tensor:
    """Return l - w (-log D(real) - log(1 - D(fake))), (batch,).

    The segmenter minimises it and the discriminator maximises it: Luc et al. 2016,
    arXiv:1611.08408, equation 2.

    Args:
        segmentation: (batch,) l, the multi-class cross-entropy.
        real: (batch, ...) logits of D for the reference segmentation.
        fake: (batch, ...) logits of D for the predicted one.
        weight: w.
    """
    return widen(segmentation) - weight * gan_discriminator(real, fake)


def fewshot_unlabelled(logits: tf.Tensor) -> tf.Tensor:
    """Return -1/2 log D of unlabelled images, (batch,) >= 0.

    A voxel is real with D = Z / (Z + 1), Z = sum_c exp(logit_c): the made one is a further class
    whose logit is 0. In the form of the authors' code, -u/2 + softplus(u)/2 with u = log Z.
    Mondal et al. 2018, arXiv:1810.12241.

    Args:
        logits: (batch, ..., k).
    """
    return 0.5 * sample_mean(tf.nn.softplus(-tf.reduce_logsumexp(widen(logits), -1)))


def fewshot_fake(logits: tf.Tensor) -> tf.Tensor:
    """Return -1/2 log(1 - D) of generated images, (batch,) >= 0; D of ``fewshot_unlabelled``.

    Mondal et al. 2018, arXiv:1810.12241.

    Args:
        logits: (batch, ..., k).
    """
    return 0.5 * sample_mean(tf.nn.softplus(tf.reduce_logsumexp(widen(logits), -1)))


def pan_projection(volume: tf.Tensor) -> tf.Tensor:
    """Return 1 - exp(-sum over z of V), (batch, z, y, x, k) -> (batch, y, x, k) in [0, 1).

    What the second critic of PAN sees of a stack of predicted slices; 0 for an empty column.
    Khosravan et al. 2019, arXiv:1906.04378.

    Args:
        volume: probabilities, or labels 0 and 1.
    """
    return -tf.math.expm1(-tf.reduce_sum(widen(volume), 1))


def kl_normal(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """Return the mean of m^2 + v - log v - 1 over the latent variables, (batch,) >= 0.

    Twice the divergence of N(m, v) from N(0, 1), as in Myronenko 2018, arXiv:1810.11654.

    Args:
        mean: (batch, n) m.
        log_variance: (batch, n) log v: v cannot become 0 or negative.
    """
    mean, log_variance = widen(mean), widen(log_variance)
    return sample_mean(mean**2 + tf.math.expm1(log_variance) - log_variance)


def cycle_l1(image: tf.Tensor, cycled: tf.Tensor, *, weight: float = 10.0) -> tf.Tensor:
    """Return w times the mean of |G_BA(G_AB(x)) - x|, (batch,); Zhu et al. 2017, arXiv:1703.10593.

    Args:
        image: (batch, ...) x.
        cycled: x there and back.
        weight: w.
    """
    return weight * mean_absolute(cycled, image)


def identity_l1(
    image: tf.Tensor, mapped: tf.Tensor, *, weight: float = 10.0, part: float = 0.5
) -> tf.Tensor:
    """Return w p times the mean of |G_AB(y) - y|, (batch,); Zhu et al. 2017, arXiv:1703.10593.

    A generator should leave an image alone that is of its target's kind already.

    Args:
        image: (batch, ...) y.
        mapped: what the generator makes of it.
        weight: w, that of ``cycle_l1``.
        part: p, relative to it.
    """
    return weight * part * mean_absolute(mapped, image)

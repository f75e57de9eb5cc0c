"""What a variational autoencoder needs: its sample and its loss.

Kingma, Welling 2013, arXiv:1312.6114.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfseg")
class GaussianSample(keras.layers.Layer):
    """Draw from normal distributions in training; answer with their means otherwise.

    [mean, log of the variance], each (batch, n), -> mean + exp(log variance / 2) * noise. The
    noise's state is among the layer's variables, so that a resumed run draws what the
    uninterrupted one would have. ``noise`` is its standard deviation; 0 always gives the means.
    """

    def __init__(self, noise: float = 1.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.noise = noise
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: list[tf.Tensor], training: bool = False) -> tf.Tensor:
        mean, log_variance = inputs
        if not training:
            return mean
        drawn = keras.random.normal(tf.shape(mean), stddev=self.noise, seed=self.seed_generator)
        return mean + tf.exp(0.5 * log_variance) * drawn

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise": self.noise, "seed": self.seed}


@keras.saving.register_keras_serializable("tfseg")
class AutoencoderLoss(keras.layers.Layer):
    """The loss of a variational autoencoder, one a sample: a training output that is a loss.

    L2 + KL, with L2 the mean squared difference of image and reconstruction, and KL = 1/N
    sum(mean^2 + variance - log variance - 1), N the voxels of the image (Myronenko 2018,
    arXiv:1810.11654, equations 3 and 4; there L2 is the sum of squares, which a balance with
    other losses cannot mean).

    Takes [image (batch, [z,] y, x, c), reconstruction of its shape, mean (batch, n), log of the
    variance (batch, n)]; returns (batch,) float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        image, reconstruction, mean, log_variance = inputs
        axes = list(range(1, len(image.shape)))
        squared = tf.reduce_mean(tf.square(image - reconstruction), axes)
        voxels = tf.cast(tf.reduce_prod(tf.shape(image)[1:-1]), tf.float32)
        terms = tf.square(mean) + tf.exp(log_variance) - log_variance - 1
        return squared + tf.reduce_sum(terms, -1) / voxels

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0][0],)

"""Convolutions of rank 2 or 3, and the conv-norm-activation sequence the networks repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.errors import ConfigError
from tfseg.layers.margin import ZeroMargin
from tfseg.layers.norm import normalise
from tfseg.layers.shape import rank_of

Size = int | Sequence[int]

ACTIVATIONS = ("relu", "leaky_relu", "prelu", "elu", "relu6", "tanh", "sigmoid", "none")

_SLOPE = 0.01  # of leaky ReLU, as in nnU-Net (Isensee et al. 2021)
_LOWEST = -65504.0  # float16's lowest finite value: below any activation, in every precision


def conv(
    x: Any,
    *,
    filters: int,
    kernel: Size = 3,
    stride: Size = 1,
    dilation: int = 1,
    padding: str = "same",
    bias: bool = True,
    variance: float = 2.0,
    dtype: str | None = None,
    name: str,
) -> Any:
    """Convolve (batch, [z,] y, x, c) to ``filters`` channels.

    The initial weights are normal with variance ``variance`` / fan-in. He's 2 keeps that of the
    signal behind a ReLU, 1 behind nothing; less starts a residual branch quietly, which sums
    without normalisation need.

    ``padding`` is ``valid``, ``same`` (TensorFlow's: with a stride, its side depends on the
    input's parity), or ``symmetric``: ``dilation * (k - 1) / 2`` on both sides also when
    strided, as the published ResNets do.
    """
    layer = keras.layers.Conv2D if rank_of(x) == 2 else keras.layers.Conv3D
    sizes = _per_axis(kernel, rank_of(x))
    steps = _per_axis(stride, rank_of(x))
    if max(sizes) == 1 and max(steps) > 1:
        # Every stride-th voxel first: TensorFlow's oneDNN kernel for the gradient of a strided
        # 1x1 convolution writes past its memory (2D, even sizes, few channels).
        x = x[(slice(None), *(slice(None, None, step) for step in steps))]
        steps = (1,) * rank_of(x)
    if padding == "symmetric":
        if max(steps) > 1:
            x = _pad(x, [dilation * (size - 1) // 2 for size in sizes], name=f"{name}_pad")
        padding = "valid" if max(steps) > 1 else "same"
    return layer(
        filters,
        sizes,
        strides=steps,
        dilation_rate=dilation,
        padding=padding,
        use_bias=bias,
        kernel_initializer=keras.initializers.VarianceScaling(variance, "fan_in"),
        dtype=dtype,
        name=name,
    )(x)


def conv_norm_act(
    x: Any,
    *,
    filters: int,
    kernel: Size = 3,
    stride: Size = 1,
    dilation: int = 1,
    padding: str = "same",
    bias: bool | None = None,
    norm: str = "instance",
    activation: str = "leaky_relu",
    name: str,
) -> Any:
    """Convolution, normalisation, activation.

    ``bias=None`` leaves the bias out where a norm follows, which would take it away again;
    ``True`` keeps it, as some published networks do.
    """
    x = conv(
        x,
        filters=filters,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        bias=norm == "none" if bias is None else bias,
        name=f"{name}_conv",
    )
    x = normalise(x, kind=norm, name=f"{name}_norm")
    return activate(x, kind=activation, name=f"{name}_act")


def activate(x: Any, *, kind: str, name: str, slope: float = _SLOPE) -> Any:
    """Apply an activation: one of :data:`ACTIVATIONS`.

    ``slope`` is leaky ReLU's; ``prelu`` learns one slope a channel; ``none`` does nothing.

    Raises:
        ConfigError: another kind.
    """
    if kind == "relu":
        return keras.layers.ReLU(name=name)(x)
    if kind == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=slope, name=name)(x)
    if kind == "prelu":
        shared = list(range(1, rank_of(x) + 1))
        return keras.layers.PReLU(
            alpha_initializer=keras.initializers.Constant(0.25), shared_axes=shared, name=name
        )(x)
    if kind == "none":
        return x
    if kind not in ACTIVATIONS:
        raise ConfigError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {kind!r}.")
    return keras.layers.Activation(kind, name=name)(x)


def transposed_conv(
    x: Any,
    *,
    filters: int,
    stride: Size,
    kernel: Size | None = None,
    padding: str = "same",
    bias: bool = True,
    name: str,
) -> Any:
    """Upsample by a transposed convolution; the kernel is by default its stride (no overlap).

    With ``padding="same"`` n voxels become n * stride, with ``valid`` (n - 1) * stride + kernel.
    """
    layer = keras.layers.Conv2DTranspose if rank_of(x) == 2 else keras.layers.Conv3DTranspose
    steps = _per_axis(stride, rank_of(x))
    return layer(
        filters,
        steps if kernel is None else _per_axis(kernel, rank_of(x)),
        strides=steps,
        padding=padding,
        use_bias=bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def downsample(
    x: Any,
    *,
    stride: Size,
    size: Size | None = None,
    padding: str = "symmetric",
    name: str,
) -> Any:
    """Max-pool windows of ``size`` (default: the stride).

    ``padding`` is ``symmetric``: ``(size - 1) / 2`` on both sides if the windows overlap, none
    if not; ``same``, TensorFlow's: n voxels become ceil(n / stride); or ``valid``.
    """
    layer = keras.layers.MaxPooling2D if rank_of(x) == 2 else keras.layers.MaxPooling3D
    steps = _per_axis(stride, rank_of(x))
    sizes = steps if size is None else _per_axis(size, rank_of(x))
    if padding == "symmetric":
        if sizes != steps:
            # Not zero: it would win over the negative values that a leaky ReLU lets through,
            # and ONNX Runtime moves zero padding into the pooling, where it counts as minus
            # infinity.
            margins = [((extent - 1) // 2,) * 2 for extent in sizes]
            x = keras.ops.pad(x, [(0, 0), *margins, (0, 0)], constant_values=_LOWEST)
        padding = "valid"
    return layer(sizes, strides=steps, padding=padding, name=name)(x)


def _pad(x: Any, margin: Sequence[int], *, name: str) -> Any:
    if not any(margin):
        return x
    if rank_of(x) == 3:
        return ZeroMargin(margin, name=name)(x)
    return keras.layers.ZeroPadding2D(tuple((size, size) for size in margin), name=name)(x)


def _per_axis(value: Size, rank: int) -> tuple[int, ...]:
    sizes = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sizes) != rank or min(sizes) < 1:
        raise ConfigError(f"a size must be one or {rank} positive integers; got {value!r}.")
    return sizes

"""Squeeze-and-excitation and attention gates, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import keras

from tfseg.layers.conv import conv
from tfseg.layers.norm import normalise
from tfseg.layers.resize import resize_like
from tfseg.layers.shape import rank_of


def squeeze_excite(x: Any, *, reduction: int = 16, bias: bool = True, name: str) -> Any:
    """Scale every channel by a sigmoid of all channels' means.

    Hu, Shen, Sun 2017, arXiv:1709.01507: mean -> dense c / ``reduction`` -> ReLU -> dense c ->
    sigmoid.
    """
    channels = x.shape[-1]
    layer = (
        keras.layers.GlobalAveragePooling2D
        if rank_of(x) == 2
        else keras.layers.GlobalAveragePooling3D
    )
    gate = layer(keepdims=True, name=f"{name}_squeeze")(x)
    gate = conv(gate, filters=max(1, channels // reduction), kernel=1, bias=bias, name=f"{name}_in")
    gate = keras.layers.ReLU(name=f"{name}_act")(gate)
    gate = conv(gate, filters=channels, kernel=1, bias=bias, name=f"{name}_out")
    gate = keras.layers.Activation("sigmoid", name=f"{name}_excite")(gate)
    return keras.layers.Multiply(name=f"{name}_scale")([x, gate])


def attention_gate(
    skip: Any,
    signal: Any,
    *,
    filters: int,
    stride: int = 2,
    norm: str = "none",
    project: bool = True,
    project_norm: str = "batch",
    bias: bool = True,
    name: str,
) -> Any:
    """Weigh a skip connection by what a coarser signal finds relevant: alpha in [0, 1] a voxel.

    Oktay et al. 2018, arXiv:1804.03999: q = psi(ReLU(theta(skip) + phi(signal))), alpha =
    sigmoid(q), resized to the skip.

    Args:
        skip: fine features x.
        signal: coarse features g.
        filters: channels of theta and phi.
        stride: of theta, which brings x to about g's grid: 2 (its kernel then too), or 1.
        norm: after theta, phi and psi; the paper has none there.
        project: end with a 1x1 convolution and ``project_norm``, as the paper does.
        project_norm: after that convolution.
        bias: of convolutions that a norm follows. Others have one, but theta, whose sum with phi
            has phi's.
        name: the layer that holds alpha is ``<name>_alpha``.
    """
    normed = norm != "none"
    theta = conv(
        skip, filters=filters, kernel=stride, stride=stride, padding="valid",
        bias=normed and bias, name=f"{name}_theta",
    )  # fmt: skip
    theta = normalise(theta, kind=norm, name=f"{name}_theta_norm")
    phi = conv(signal, filters=filters, kernel=1, bias=bias or not normed, name=f"{name}_phi")
    phi = normalise(phi, kind=norm, name=f"{name}_phi_norm")
    phi = resize_like(phi, theta, name=f"{name}_phi_up")
    both = keras.layers.Add(name=f"{name}_sum")([theta, phi])
    both = keras.layers.ReLU(name=f"{name}_act")(both)
    psi = conv(both, filters=1, kernel=1, bias=bias or not normed, name=f"{name}_psi")
    psi = normalise(psi, kind=norm, name=f"{name}_psi_norm")
    alpha = keras.layers.Activation("sigmoid", name=f"{name}_alpha")(psi)
    alpha = resize_like(alpha, skip, name=f"{name}_alpha_up")
    gated = keras.layers.Multiply(name=f"{name}_gated")([skip, alpha])
    if not project:
        return gated
    gated = conv(
        gated, filters=skip.shape[-1], kernel=1,
        bias=bias or project_norm == "none", name=f"{name}_project",
    )  # fmt: skip
    return normalise(gated, kind=project_norm, name=f"{name}_project_norm")

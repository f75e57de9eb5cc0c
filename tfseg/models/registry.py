"""The list of networks: names, papers, options. Importing it imports no TensorFlow.

``tfseg models`` prints it; :func:`tfseg.models.build` builds from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tfseg.errors import unknown_name


@dataclass(frozen=True)
class ModelInfo:
    """One network.

    Attributes:
        name: on the command line.
        family: FCN, U-shape, pyramid, ...
        dims: ranks it is offered in.
        module: holds ``build_<name>``, ``<config>`` and ``paper_config``.
        config: name of its configuration class.
        paper: authors, year and identifier.
        parameters: trainable parameters by rank at default width, one channel in, two classes,
            training heads included.
        loss_weights: weight of each training output, first output first; cut to the number of
            outputs and scaled to sum 1.
    """

    name: str
    family: str
    dims: tuple[int, ...]
    module: str
    config: str
    paper: str
    parameters: dict[int, int] = field(hash=False)
    loss_weights: tuple[float, ...] = (1.0,)


_MODELS = (
    ModelInfo(
        name="unet",
        family="U-shape",
        dims=(2, 3),
        module="tfseg.models.unet",
        config="UNetConfig",
        paper="Ronneberger et al. 2015, arXiv:1505.04597",
        parameters={2: 5_685_446, 3: 16_544_518},
        loss_weights=(1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125),
    ),
    ModelInfo(
        name="pspnet",
        family="pyramid",
        dims=(2, 3),
        module="tfseg.models.pspnet",
        config="PSPNetConfig",
        paper="Zhao et al. 2016, arXiv:1612.01105",
        parameters={2: 3_193_892, 3: 9_359_588},
        loss_weights=(1.0, 0.4),
    ),
)


def _by_name(models: tuple[ModelInfo, ...]) -> dict[str, ModelInfo]:
    table: dict[str, ModelInfo] = {}
    for info in models:
        if info.name in table:
            raise ValueError(f"two networks are called {info.name}")
        table[info.name] = info
    return table


MODELS: dict[str, ModelInfo] = _by_name(_MODELS)


def model_info(name: str) -> ModelInfo:
    """Return the entry of ``name``.

    Raises:
        ConfigError: no such network; the message lists the nearest names.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]

"""What every network promises to other runtimes: the artifact answers as the network.

Each goes the way of ``tfseg export``: a run folder, the exporter, its parity gate. The network
is loaded, traced and converted to ONNX once for all formats.
"""

import keras
import numpy as np
import pytest
from kit import NETWORKS, images, manifest_of, promise, shape_of, small

from tfseg.models import inference_model
from tfseg_export import export_run, onnx, source
from tfseg_export.formats import FORMATS


def write_run(folder, name, rank):
    """Write a run folder with the case's network, its statistics as training leaves them."""
    shape = shape_of(name, rank)
    model = inference_model(small(name, shape))
    norms = [la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(images(shape, batch=2), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    spread = np.std(model(images(shape)))
    assert spread > 1e-2, "a network that answers the same everywhere would prove nothing"
    folder.mkdir()
    model.save(folder / "model.keras")
    manifest_of(name, rank).save(folder, "manifest.json")


def last_of(function):
    """Return ``function`` of a run or a source, keeping the answer for the folder it had last."""
    kept = {}

    def remembering(run):
        folder = getattr(run, "folder", run)
        if folder not in kept:
            kept.clear()
            kept[folder] = function(run)
        return kept[folder]

    return remembering


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Return a function (name, rank, format) -> artifact; it keeps the last network only."""
    root = tmp_path_factory.mktemp("conformance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "load_source", last_of(source.load_source))
        patch.setattr(onnx, "convert", last_of(onnx.convert))

        def make(name, rank, format):
            run = root / f"{name}-{rank}d"
            if not run.exists():
                write_run(run, name, rank)
            return export_run(
                run,
                format,
                root,
                name=run.name,
                # Compiling for every GPU takes as long again for each.
                capabilities=("sm89",) if format == "tensorrt" else (),
            )

        yield make


# Layers that the exporters' own tests do not meet: unpooling, dilation, 3D residual steps.
EVERY_TIME = {("segnet", 2), ("acnn", 2), ("vnet", 3)}


@pytest.mark.parametrize(
    # What wraps an artifact of another format has its network from there.
    "format",
    [pytest.param(f.name, marks=promise(f.title)) for f in FORMATS.values() if not f.opened_as],
)
@pytest.mark.parametrize(
    ("name", "rank"),
    [
        pytest.param(
            *cell, id="{}-{}d".format(*cell), marks=() if cell in EVERY_TIME else pytest.mark.slow
        )
        for cell in NETWORKS
    ],
)
def test_exported_it_answers_the_same(name, rank, format, export):
    artifact = export(name, rank, format)
    assert artifact.parity["passed"], artifact.parity["verdict"]

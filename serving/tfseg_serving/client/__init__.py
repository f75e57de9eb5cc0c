"""A light client of model servers, over gRPC or HTTP. Imports no TensorFlow.

    from tfseg_serving import Client

    with Client("grpc://localhost:8500") as client:
        labels = client.predict("unet", {"volume": volume, "spacing_mm": spacing})["labels"]

It speaks TF-Serving's API, and KServe's open inference protocol, version 2 (Triton, OpenVINO
Model Server). :class:`Segmenter` is the step above: from a scan to its label map, by whichever
way the server allows.
"""

from tfseg_serving.client.allocator import keep_freed_memory
from tfseg_serving.client.connection import PROTOCOLS, SEGMENT, Client, connect
from tfseg_serving.client.manifests import read_manifest
from tfseg_serving.client.retries import Retries
from tfseg_serving.client.segmenter import Segmenter
from tfseg_serving.client.tls import Tls

__all__ = [
    "PROTOCOLS",
    "SEGMENT",
    "Client",
    "Retries",
    "Segmenter",
    "Tls",
    "connect",
    "keep_freed_memory",
    "read_manifest",
]

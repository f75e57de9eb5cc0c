"""A scan to a model server and its label map back, with grpcio and TensorFlow Serving's own stubs.

    tfseg serve exports/liver &
    python examples/query_grpc.py scan.nii.gz labels.nii.gz
    python examples/query_grpc.py scan.nii.gz labels.nii.gz localhost:8500 liver

Needs ``pip install tensorflow-serving-api nibabel`` and nothing of tfseg. The stubs import
TensorFlow, which takes seconds; query_client.py does without.
"""

from __future__ import annotations

import argparse

import grpc
import tensorflow as tf
from scan_files import read_scan, write_labels
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

# gRPC's own bound on a message is 4 MiB, less than a volume.
UNBOUNDED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def main() -> None:
    """Segment one scan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", help="NIfTI file")
    parser.add_argument("labels", help="NIfTI file to write")
    parser.add_argument("address", nargs="?", default="localhost:8500")
    parser.add_argument("name", nargs="?", default="liver", help="of the model")
    given = parser.parse_args()
    volume, spacing_mm = read_scan(given.scan)

    request = predict_pb2.PredictRequest()
    request.model_spec.name = given.name
    request.model_spec.signature_name = "segment"
    # As tensor_content: the array's bytes, not a number at a time.
    request.inputs["volume"].CopyFrom(tf.make_tensor_proto(volume))
    request.inputs["spacing_mm"].CopyFrom(tf.make_tensor_proto(spacing_mm))

    with grpc.insecure_channel(given.address, options=UNBOUNDED) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=600)
    write_labels(tf.make_ndarray(answer.outputs["labels"]), given.scan, given.labels)
    print(f"{given.labels}: labels of {given.name} version {answer.model_spec.version.value}")


if __name__ == "__main__":
    main()

"""A scan to a model server and its label map back, with tfseg's client. Imports no TensorFlow.

    tfseg serve exports/liver &
    python examples/query_client.py scan.nii.gz labels.nii.gz
    python examples/query_client.py scan.nii.gz labels.nii.gz http://localhost:8501 liver

The same with Triton or OpenVINO Model Server, which take prepared windows only: this side then
normalises, resamples and tiles, by the plan in the export's manifest.

    docker compose -f serving/deploy/docker-compose.triton.yml up --wait
    python examples/query_client.py scan.nii.gz labels.nii.gz grpc://localhost:8001 liver \\
        exports/triton/liver

``tfseg query`` does this from the command line, for many scans. The scan may be of any format
that tfseg reads, a DICOM folder too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tfseg.io import read_volume, write_volume
from tfseg_serving.client import Client, Segmenter, read_manifest


def main() -> None:
    """Segment one scan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", help="file of a format that tfseg reads, or DICOM folder")
    parser.add_argument("labels", help="label map to write")
    parser.add_argument("url", nargs="?", default="grpc://localhost:8500")
    parser.add_argument("name", nargs="?", default="liver", help="of the model")
    parser.add_argument("export", nargs="?", type=Path, help="folder: speak KServe's protocol")
    given = parser.parse_args()

    manifest = read_manifest(given.export) if given.export else None
    with Client(given.url, protocol="kserve" if manifest else "tfserving") as client:
        segment = Segmenter(client, given.name, manifest=manifest)
        labels = segment(read_volume(given.scan))
    write_volume(labels, given.labels)
    print(f"{given.labels}: labels of {given.name}, by {segment.way}")


if __name__ == "__main__":
    main()

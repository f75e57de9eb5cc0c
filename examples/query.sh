#!/usr/bin/env bash
# A scan to a model server and its label map back, with curl.
#
#   tfseg serve exports/liver &
#   examples/query.sh scan.nii.gz labels.nii.gz
#   examples/query.sh scan.nii.gz labels.nii.gz http://localhost:8501 liver
#
# JSON makes a volume several times larger: fine for a look, slow for a CT of 500 slices. See
# query_grpc.py for those. Needs curl, and Python with nibabel for the scan's file.
set -euo pipefail

usage="usage: query.sh SCAN LABELS [URL [NAME]]"
scan=${1:?$usage}
labels=${2:?$usage}
url=${3:-http://localhost:8501}
name=${4:-liver}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# {"signature_name": "segment", "inputs": {"volume": [[[[...]]]], "spacing_mm": [z, y, x]}}
"$python" "$here/scan_files.py" request "$scan" >"$work/request.json"

# 200 and {"outputs": [[[...]]]}; anything else comes with {"error": "..."}.
status=$(curl --silent --show-error --max-time 600 \
  --header 'Content-Type: application/json' --data-binary @"$work/request.json" \
  --output "$work/answer.json" --write-out '%{http_code}' \
  "$url/v1/models/$name:predict")
if [[ $status != 200 ]]; then
  echo "query.sh: the server answered $status: $(<"$work/answer.json")" >&2
  exit 1
fi

"$python" "$here/scan_files.py" labels "$work/answer.json" "$scan" "$labels"

#!/usr/bin/env bash
# One prepared window to Triton or OpenVINO Model Server and its probabilities back, with curl: the
# KServe protocol, version 2, with tensors as raw bytes behind the JSON.
#
#   docker compose -f serving/deploy/docker-compose.triton.yml up --wait
#   examples/query_kserve.sh window.f32 1,64,64,64,1 probabilities.f32
#   examples/query_kserve.sh window.f32 1,64,64,64,1 probabilities.f32 http://localhost:8000 liver
#
# window.f32 holds float32 numbers, little-endian, channels last: a window of the scan, normalised
# and resampled as the plan in the export's tfseg.json says. From a scan to its label map over this
# protocol: query_client.py. Needs curl.
set -euo pipefail

usage="usage: query_kserve.sh WINDOW SHAPE PROBABILITIES [URL [NAME]]"
window=${1:?$usage}
shape=${2:?$usage}
probabilities=${3:?$usage}
url=${4:-http://localhost:8000}
name=${5:-liver}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bytes=$(($(wc -c <"$window")))
tensor='{"name":"image","datatype":"FP32","shape":['$shape'],"parameters":{"binary_data_size":'$bytes'}}'
header='{"inputs":['$tensor'],"parameters":{"binary_data_output":true}}'
{ printf %s "$header" && cat "$window"; } >"$work/request"

# The answer has the same form: its header tells where the JSON ends and the numbers begin.
status=$(curl --silent --show-error --max-time 600 \
  --header 'Content-Type: application/octet-stream' \
  --header "Inference-Header-Content-Length: ${#header}" \
  --data-binary @"$work/request" --dump-header "$work/headers" --output "$work/answer" \
  --write-out '%{http_code}' "$url/v2/models/$name/infer")
if [[ $status != 200 ]]; then
  echo "query_kserve.sh: the server answered $status: $(<"$work/answer")" >&2
  exit 1
fi
json=$(tr -d '\r' <"$work/headers" | awk -F': ' 'tolower($1) == "inference-header-content-length" { print $2 }')
head -c "${json:?the answer has no binary tensors}" "$work/answer"
echo
tail -c "+$((json + 1))" "$work/answer" >"$probabilities"

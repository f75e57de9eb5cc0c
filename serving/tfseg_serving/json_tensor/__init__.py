"""JSON of the REST API to arrays and back, as TF-Serving's ``util/json_tensor.cc`` does it.

A request's body goes through ``document`` (text to an object), ``requests`` (rows or columns) and
``values`` (nested lists to an array); ``answers`` writes the way back. Both are quick: a million
values take well under a second each way. Classify and regress, which take examples instead of
tensors, are in ``examples``.
"""

from tfseg_serving.json_tensor.answers import format_error, format_predict_response
from tfseg_serving.json_tensor.examples import (
    fill_example_request,
    format_classifications,
    format_regressions,
)
from tfseg_serving.json_tensor.floats import float_texts
from tfseg_serving.json_tensor.requests import COLUMN, ROW, parse_predict_request
from tfseg_serving.json_tensor.text import quote

__all__ = [
    "COLUMN",
    "ROW",
    "fill_example_request",
    "float_texts",
    "format_classifications",
    "format_error",
    "format_predict_response",
    "format_regressions",
    "parse_predict_request",
    "quote",
]

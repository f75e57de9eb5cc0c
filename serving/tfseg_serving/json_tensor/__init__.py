"""JSON of the REST API to arrays and back, as TF-Serving's ``util/json_tensor.cc`` does it.

A request's body goes through ``document`` (text to an object), ``requests`` (rows or columns) and
``values`` (nested lists to an array); ``answers`` writes the way back. Both are quick: a million
values take well under a second each way.
"""

from tfseg_serving.json_tensor.answers import float_texts, format_error, format_predict_response
from tfseg_serving.json_tensor.requests import COLUMN, ROW, parse_predict_request
from tfseg_serving.json_tensor.text import quote

__all__ = [
    "COLUMN",
    "ROW",
    "float_texts",
    "format_error",
    "format_predict_response",
    "parse_predict_request",
    "quote",
]

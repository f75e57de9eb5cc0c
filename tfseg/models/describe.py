"""What a network is and which options it has, as data.

The configuration classes live beside the builders, which are about TensorFlow. So that asking
for options takes no TensorFlow, ``options.json`` holds what they say; ``docs/make_models.py``
writes it, and a test holds it to the code.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from tfseg.models.registry import MODELS, model_info

# What the docstrings of single networks do not repeat.
_COMMON = {
    "norm": "normalisation after the convolutions.",
    "activation": "after each normalisation.",
}


@dataclass(frozen=True)
class Option:
    """One option of a network.

    Attributes:
        name: on the command line, ``--set name=value``.
        values: which are allowed, in words.
        default: a JSON value.
        faithful: the value of the paper's form; the default where both are the same.
        what: it does.
    """

    name: str
    values: str
    default: Any
    faithful: Any
    what: str


@dataclass(frozen=True)
class Description:
    """A network in words.

    Attributes:
        about: paragraphs: how it works, what its faithful form is and what is ours.
        options: in the order of its configuration class.
    """

    about: tuple[str, ...]
    options: tuple[Option, ...]


def describe(name: str) -> Description:
    """Return the description of a network, or of a preset's network, without TensorFlow.

    A network too new for ``options.json`` is read from the code.

    Raises:
        ConfigError: no such network; the message lists the nearest names.
    """
    name = model_info(name).name
    stored = _stored().get(name)
    if stored is None:
        return _from_code(name)
    return Description(
        tuple(stored["about"]),
        tuple(Option(option, **entry) for option, entry in stored["options"].items()),
    )


def describe_all() -> dict[str, dict[str, Any]]:
    """Return what ``options.json`` must hold, from the code: name -> description."""
    return {name: _document(_from_code(name)) for name in MODELS}


@functools.cache
def _stored() -> dict[str, dict[str, Any]]:
    text = (resources.files("tfseg.models") / "options.json").read_text(encoding="utf-8")
    stored: dict[str, dict[str, Any]] = json.loads(text)
    return stored


def _document(description: Description) -> dict[str, Any]:
    options = {}
    for option in description.options:
        entry = asdict(option)
        options[entry.pop("name")] = entry
    return {"about": list(description.about), "options": options}


def _from_code(name: str) -> Description:
    info = MODELS[name]
    module = importlib.import_module(info.module)
    config = getattr(module, info.config)
    _, *paragraphs = re.split(r"\n\s*\n", inspect.getdoc(module) or "")
    texts = _attribute_texts(config)
    options = []
    for option, schema in config.model_json_schema()["properties"].items():
        default = _plain(config.model_fields[option].get_default(call_default_factory=True))
        faithful = _plain(config.paper.get(option, default))
        options.append(Option(option, _values(schema), default, faithful, texts.get(option, "")))
    return Description(tuple(" ".join(text.split()) for text in paragraphs), tuple(options))


def _attribute_texts(config: type) -> dict[str, str]:
    """Return option -> text from the ``Attributes`` of a class and of those it extends."""
    texts = dict(_COMMON)
    for base in reversed(config.__mro__):
        if "__doc__" not in vars(base):
            continue  # inherited: already read
        _, _, section = (inspect.getdoc(base) or "").partition("Attributes:\n")
        entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
        texts |= {option: " ".join(text.split()) for option, text in entries}
    return texts


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back: lists for tuples."""
    return json.loads(json.dumps(value))


def _values(schema: dict[str, Any]) -> str:
    """Say in words which values a JSON schema allows."""
    if "anyOf" in schema:
        return " or ".join(_values(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "array":
        part = schema.get("items") or schema["prefixItems"][0]
        return f"list of {_values(part)}"
    if kind in {"integer", "number"}:
        return _range(schema)
    words = {"boolean": "true, false", "string": "text", "object": "a JSON object", "null": "null"}
    return words[kind]


def _range(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    lower = f"{low} or more" if low is not None else f"above {above}"
    upper = f"to {high}" if high is not None else f"below {below}"
    if high is None and below is None:
        return lower
    return upper if low is None and above is None else f"{lower}, {upper}"

"""Sums of losses as text: ``dice + 0.5*focal(gamma=2)``.

    sum   = term { ("+" | "-") term }
    term  = [ number "*" ] loss
    loss  = name [ "(" option "=" literal { "," option "=" literal } ")" ]

Literals are Python's: numbers, strings, True, False, None, lists and tuples of these. Python's own
parser reads the text and nothing of it is executed.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfseg.errors import ConfigError
from tfseg.losses.registry import LossInfo, loss_info

_MAX_LENGTH = 2000  # characters; also bounds how deep the parser can be sent
_MAX_TERMS = 20


@dataclass(frozen=True)
class Term:
    """One loss of a sum.

    Attributes:
        weight: its factor.
        info: its registry entry.
        options: as given, not yet checked against the loss's own rules.
    """

    weight: float
    info: LossInfo
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        call = f"{self.info.name}({options})" if options else self.info.name
        return call if self.weight == 1 else f"{_short(self.weight)}*{call}"


def _short(number: float) -> str:
    """Return the shortest text that reads back as the number: 2, not 2.0."""
    return repr(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def parse_loss(text: str) -> tuple[Term, ...]:
    """Read a sum of losses.

    Raises:
        ConfigError: not of the form above, an unknown loss, a weight that is not finite, or a
            name that cannot be trained with alone.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(
            f"a loss must be given in at most {_MAX_LENGTH} characters; got {len(text)}."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _malformed(text) from error
    terms = tuple(_terms(tree, 1.0, text))
    if len(terms) > _MAX_TERMS:
        raise ConfigError(f"a loss must have at most {_MAX_TERMS} terms; got {len(terms)}.")
    return terms


def wants_frequencies(text: str) -> bool:
    """Whether a term of the sum takes class frequencies that are not given."""
    return any(_unfilled(term) for term in parse_loss(text))


def fill_frequencies(text: str, share: Sequence[float], within: Sequence[float]) -> str:
    """Return the sum with the training set's class frequencies where none are given.

    Args:
        text: a sum of losses.
        share: of all voxels, one a class, the background first.
        within: of the voxels of those cases that have the class.
    """
    known = {"share": tuple(share), "within": tuple(within)}
    terms = [
        replace(term, options={**term.options, "frequencies": known[term.info.frequencies]})
        if _unfilled(term)
        else term
        for term in parse_loss(text)
    ]
    return " + ".join(map(str, terms))


def leave_out(text: str, value: int, known: Sequence[int], classes: int) -> str:
    """Return the sum with voxels of the label ``value`` left out of every term.

    Args:
        text: a sum of losses.
        value: the label, as training sees it; negative where the data set has none to ignore.
        known: how a user may call it, too: its value in the files.
        classes: number of classes of the data set.

    Raises:
        ConfigError: a term ignores another label, which the data set does not have.
    """
    terms = []
    for term in parse_loss(text):
        given = term.options.get("ignore_index")
        if isinstance(given, int) and not 0 <= given < classes and given not in known:
            raise ConfigError(
                f"ignore_index must be a label of the data set, 0 to {classes - 1}, or the one "
                f"that it ignores; got {given} in {term}. Labels are numbered anew in training: "
                "name the value `ignore` in labels.csv or dataset.json, and no loss, Dice or class "
                "will have it; then leave ignore_index out."
            )
        if value >= 0:
            if isinstance(given, int) and given not in known:
                raise ConfigError(
                    f"one label is ignored by a loss; the data set ignores {known[0]}, and {term} "
                    f"ignores the class {given}. Leave ignore_index out."
                )
            term = replace(term, options={**term.options, "ignore_index": value})
        terms.append(term)
    return " + ".join(map(str, terms)) if value >= 0 else text


def _unfilled(term: Term) -> bool:
    return bool(term.info.frequencies) and term.options.get("frequencies") is None


def _terms(node: ast.expr, sign: float, text: str) -> list[Term]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        right = sign if isinstance(node.op, ast.Add) else -sign
        return _terms(node.left, sign, text) + _terms(node.right, right, text)
    weight = sign
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        weight *= _number(node.left, text)
        node = node.right
    if isinstance(node, ast.Name):
        return [Term(weight, _trainable(node.id))]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ConfigError(
                f"options of a loss are given by name, like focal(gamma=2); got "
                f"{ast.unparse(node)}."
            )
        options = {str(word.arg): _literal(word.value, text) for word in node.keywords}
        return [Term(weight, _trainable(node.func.id), options)]
    raise _malformed(text)


def _trainable(name: str) -> LossInfo:
    info = loss_info(name)
    if info.kind != "supervised":
        raise ConfigError(
            f"{info.name} is no loss of labels and predictions but a term of a training scheme "
            f"({info.category}); it cannot be trained with by itself. `tfseg losses` marks those "
            "that can."
        )
    return info


def _number(node: ast.expr, text: str) -> float:
    value = _literal(node, text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"the weight of a loss must be a finite number; got {ast.unparse(node)}.")
    return float(value)


def _literal(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name) and node.id in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[node.id]  # as in JSON
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _malformed(text) from error


def _malformed(text: str) -> ConfigError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return ConfigError(
        f"a loss must be a sum like dice + 0.5*focal(gamma=2); got {shown!r}. "
        "`tfseg losses` lists the names and options."
    )

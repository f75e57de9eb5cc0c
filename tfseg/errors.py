"""The exceptions that tfseg raises on purpose.

    TfsegError                    exit code 1: the work failed
    |-- DivergedError             the loss became NaN or infinite
    |-- ParityError               an export disagrees with its source network
    `-- InputError                exit code 2: the input or the options are wrong
        |-- DataError             a file or a data set cannot be used as it is
        |-- ConfigError           an option, a plan or a model configuration is not valid
        `-- ServerError           a server cannot be reached or refused the request

Every message is one line: what is wrong, the rule, what was given, the remedy.
The command line prints it after ``tfseg: `` and exits with :attr:`TfsegError.exit_code`.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

_BLANKS = {ord(blank): " " for blank in "\n\r\t\v\f\x85\u2028\u2029"}
# Controls, formats such as the direction of writing, halves of surrogate pairs, breaks of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NAMED = 10  # in a line of text


def some(names: Sequence[str]) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def printable(text: str) -> str:
    """Return text with characters escaped that could steer a terminal or hide what is said.

    Names and messages come from files, servers and clients. Line breaks and tabs stay.
    """
    return "".join(
        one.encode("unicode_escape").decode()
        if unicodedata.category(one) in _UNSEEN and one not in "\n\t"
        else one
        for one in text
    )


class TfsegError(Exception):
    """Base of every error that tfseg raises on purpose.

    What files say is quoted in messages: line breaks become blanks, and characters that would
    steer a terminal, or that UTF-8 cannot hold, are written as escapes.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message.translate(_BLANKS)))


class DivergedError(TfsegError):
    """Training produced a loss that is not finite."""


class ParityError(TfsegError):
    """An exported artifact does not reproduce the network it was made from."""


class InputError(TfsegError, ValueError):
    """The caller's input or options are wrong; nothing was written."""

    exit_code = 2


class DataError(InputError):
    """A file or a data set cannot be used as it is."""


class ConfigError(InputError):
    """An option, a plan or a model configuration is not valid."""


class ServerError(InputError):
    """A model server cannot be reached or refused the request."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that no registry entry has, with the nearest names.

    Args:
        kind: what the name should have named, e.g. ``"model"``.
        name: the name that was given.
        known: every valid name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return ConfigError(f"unknown {kind} {name!r}. {hint}Valid names: {', '.join(names)}.")

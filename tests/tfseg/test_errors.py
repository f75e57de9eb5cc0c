"""The exception tree and its exit codes."""

import pytest

from tfseg import errors
from tfseg.errors import unknown_name


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.TfsegError, 1),
        (errors.DivergedError, 1),
        (errors.ParityError, 1),
        (errors.InputError, 2),
        (errors.DataError, 2),
        (errors.ConfigError, 2),
        (errors.ServerError, 2),
    ],
)
def test_exit_codes(kind, code):
    assert kind("x").exit_code == code
    assert issubclass(kind, errors.TfsegError)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a name\nof two lines", "a name of two lines"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("caf\udce9 \ud800", "caf\\udce9 \\ud800"),
        ("Grüße, 漢字", "Grüße, 漢字"),
        ("a\u2028b\x9bc", "a b\\x9bc"),
    ],
)
def test_what_files_say_cannot_break_a_message(given, shown):
    assert str(errors.DataError(given)) == shown


def test_wrong_input_is_a_value_error():
    assert issubclass(errors.InputError, ValueError)
    assert not issubclass(errors.DivergedError, ValueError)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("trian", "Did you mean train? "), ("QUERY", "Did you mean query? "), ("xyz", "")],
)
def test_unknown_names(given, hint):
    message = str(unknown_name("command", given, ["train", "query"]))
    assert message == f"unknown command {given!r}. {hint}Valid names: query, train."


def test_control_characters_are_shown_not_obeyed():
    assert errors.printable("a\x1b[31m\x07\u202eb\tc\n\u00e4") == (
        "a\\x1b[31m\\x07\\u202eb\tc\n\u00e4"
    )

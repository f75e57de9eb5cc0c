"""The ``tfseg`` command: a table of commands, each loaded when it is called.

Help must answer at once, so this module imports click alone; what a command needs it imports
inside its own function.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tfseg import __version__
from tfseg.errors import TfsegError, printable

# name -> (module:function, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "models": ("tfseg.cli.models:models", "List the networks: dimensions, parameters, paper."),
    "losses": ("tfseg.cli.losses:losses", "List the losses: formula, options, paper."),
    "datasets": ("tfseg.cli.datasets:datasets", "List the data set layouts that are recognised."),
    "phantom": ("tfseg.cli.phantom:phantom", "Make a synthetic data set with exact labels."),
    "check": ("tfseg.cli.check:check", "Check every case of a data set before training."),
    "import-dicom": ("tfseg.cli.import_dicom:import_dicom", "Turn a DICOM folder into volumes."),
    "plan": ("tfseg.cli.plan:plan", "Choose spacing, patch and batch for a data set."),
    "train": ("tfseg.cli.train:train", "Train a network."),
    "evaluate": ("tfseg.cli.evaluate:evaluate", "Measure predictions against reference labels."),
    "metrics": ("tfseg.cli.metrics:metrics", "List the metrics that evaluate can measure."),
    "predict": ("tfseg.cli.predict:predict", "Segment scans with a run or an exported model."),
    "export": ("tfseg_export.cli:export", "Export a run to SavedModel, ONNX, TensorRT and more."),
    "serve": ("tfseg_serving.cli:serve", "Serve SavedModels over the TF-Serving API."),
    "query": ("tfseg_serving.cli:query", "Send scans to a model server, write the label maps."),
    "cache": ("tfseg.cli.cache:cache", "List or remove the prepared volumes of the runs."),
    "report": ("tfseg.cli.report:report", "Write a run's report as one HTML page."),
}


class _Commands(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), function)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{function} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from tfseg.errors import unknown_name

            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The table's help lines, so that listing the commands imports none of them.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tfseg")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Medical image segmentation in TensorFlow, from the scan to a served model.

    Start with `tfseg train --model unet`: it makes a synthetic data set and trains on it.
    """
    ctx.obj = {"debug": debug}
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the work failed, 2 wrong input or options."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character or file name that the terminal's encoding lacks must not end the work.
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has SIGHUP ignored
            signal.signal(number, _terminate)
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


class _TerminatedError(KeyboardInterrupt):
    """The process was told to end: what Ctrl-C cleans up is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _terminate(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise _TerminatedError(number)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    debug = "--debug" in arguments
    try:
        code: Any = cli.main(arguments, prog_name="tfseg", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.UsageError as error:
        hint = f" Try '{error.ctx.command_path} --help'." if error.ctx else ""
        return _fail(f"{error.format_message()}{hint}", 2)
    except (click.Abort, KeyboardInterrupt) as stop:
        cause = stop if isinstance(stop, _TerminatedError) else stop.__cause__
        if isinstance(cause, _TerminatedError):
            return _fail("terminated.", 128 + cause.number)
        return _fail("interrupted.", 130)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except TfsegError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except MemoryError:
        if debug:
            raise
        return _fail("out of memory. Use a smaller patch_size or batch_size.", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing is wrong here
        return 0
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split())
        return _fail(f"unexpected {type(error).__name__}: {text[:300]} (--debug shows where)", 1)
    return int(code) if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"tfseg: {printable(' '.join(message.split()))}", err=True)
    return code

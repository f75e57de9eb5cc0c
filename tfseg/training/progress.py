"""What a person sees while a run goes on: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
)


class TrainingDisplay:
    """A progress bar over epochs with loss, Dice and time left."""

    def __init__(self, epochs: int) -> None:
        self._console = Console(stderr=True)
        self._epochs = epochs
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("Dice {task.fields[dice]}"),
            TextColumn("{task.fields[left]} left"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=epochs, loss="-", dice="-", left="-")

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, epoch: int, share: float, loss: float) -> None:
        """Show that ``share`` of epoch ``epoch`` (from 0) is done."""
        self._bar.update(self._task, completed=epoch + share, loss=f"{loss:.4f}")

    def epoch(self, number: int, loss: float, dice: float | None, left_s: float) -> None:
        """Show epoch ``number`` (from 1) as finished; ``dice`` where it was measured."""
        left = format_seconds(left_s)
        self._bar.update(self._task, completed=number, loss=f"{loss:.4f}", left=left)
        if dice is not None:
            self._bar.update(self._task, dice=f"{dice:.4f}")
        if not self._console.is_terminal and dice is not None:
            self._console.print(
                f"epoch {number}/{self._epochs}  loss {loss:.4f}  Dice {dice:.4f}  {left} left",
                highlight=False,
            )


def format_seconds(seconds: float) -> str:
    """Return ``45s``, ``12m05s`` or ``3h07m``."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"

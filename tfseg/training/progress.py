"""What a person sees while a run goes on: a bar on a terminal, a line a validation elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from tfseg.training.validation import Validation


class TrainingDisplay:
    """A progress bar over the run, by epochs or time, with loss, Dice and time left."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("Dice {task.fields[dice]}"),
            TextColumn("{task.fields[left]} left"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, epoch=1, loss="-", dice="-", left="-")

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

    def step(self, epoch: int, done: float, loss: float) -> None:
        """Show that ``done`` of the run, in [0, 1], is finished, in epoch ``epoch`` (from 1)."""
        self._bar.update(self._task, completed=done, epoch=epoch, loss=f"{loss:.4f}")

    def epoch(self, number: int, loss: float, found: Validation | None, left_s: float) -> None:
        """Show epoch ``number`` (from 1) as finished, and its validation where there was one."""
        left = format_seconds(left_s)
        self._bar.update(self._task, loss=f"{loss:.4f}", left=left)
        if found is None:
            return
        dice = f"{found.mean_dice:.4f}"
        for what in ("missed", "invented"):
            if number_of := int(getattr(found, what)[1:].sum()):
                dice += f", {number_of} {what}"
        self._bar.update(self._task, dice=dice)
        if not self._console.is_terminal:
            self._console.print(
                f"epoch {number}  loss {loss:.4f}  Dice {dice}  {left} left", highlight=False
            )


def format_seconds(seconds: float) -> str:
    """Return ``45s``, ``12m05s`` or ``3h07m``."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"

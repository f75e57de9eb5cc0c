"""What a person sees while a run goes on: a bar on a terminal, a line a validation elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn


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

    def open(self) -> None:
        """Begin to show."""
        self._bar.start()

    def close(self) -> None:
        """Leave the screen as it is."""
        self._bar.stop()

    def step(self, epoch: int, done: float, loss: float, left_s: float) -> None:
        """Show that ``done`` of the run, in [0, 1], is finished, in epoch ``epoch`` (from 1)."""
        self._bar.update(
            self._task,
            completed=done,
            epoch=epoch,
            loss=f"{loss:.4f}",
            left=format_seconds(left_s),
        )

    def epoch(self, record: Mapping[str, float | int | None], left_s: float) -> None:
        """Show an epoch as finished, and its validation where there was one.

        Args:
            record: of the history.
            left_s: seconds that the rest will take.
        """
        left, loss = format_seconds(left_s), f"{record['loss']:.4f}"
        self._bar.update(self._task, loss=loss, left=left)
        if record.get("val_dice") is None:
            return
        dice = f"{record['val_dice']:.4f}"
        for what in ("missed", "invented"):
            counts = (one for key, one in record.items() if key.startswith(f"val_{what}_"))
            if number := int(sum(one or 0 for one in counts)):
                dice += f", {number} {what}"
        self._bar.update(self._task, dice=dice)
        if not self._console.is_terminal:
            self._console.print(
                f"epoch {record['epoch']}  loss {loss}  Dice {dice}  {left} left", highlight=False
            )


def format_seconds(seconds: float) -> str:
    """Return ``45s``, ``12m05s`` or ``3h07m``."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"

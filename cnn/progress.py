"""How a training run shows itself: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from typing import Self

from cnn.monitoring import BatchProgress, EpochMetrics, Observer

LINE_EVERY = 50


class Lines(Observer):
    """One line every 50 batches and one per epoch, for logs and pipes."""

    def on_batch(self, progress: BatchProgress) -> None:
        """Print every 50th batch."""
        if progress.batch % LINE_EVERY == 0:
            print(
                f"epoch {progress.epoch}/{progress.epochs}  "
                f"batch {progress.batch:4d}/{progress.batches}  {_figures(progress)}",
                flush=True,
            )

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch."""
        print(epoch_line(metrics), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Bar(Lines):
    """A progress bar for the whole run, with a line above it for each finished epoch."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        self._task = self._progress.add_task("first step", total=None, figures="")

    def on_batch(self, progress: BatchProgress) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            description=f"epoch {progress.epoch}/{progress.epochs}",
            total=progress.epochs * progress.batches,
            completed=(progress.epoch - 1) * progress.batches + progress.batch,
            figures=_figures(progress),
        )

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Print the epoch above the bar."""
        self._progress.console.print(epoch_line(metrics), highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def for_stdout() -> Lines:
    """Return the bar if stdout is a terminal, else the lines."""
    return Bar() if sys.stdout.isatty() else Lines()


def epoch_line(metrics: EpochMetrics) -> str:
    """Return one epoch in one line."""
    validated = ""
    if "validation_loss" in metrics:
        validated = (
            f" validation loss {metrics['validation_loss']:.4f}, "
            f"accuracy {metrics['validation_accuracy']:.2%};"
        )
    return (
        f"epoch {metrics['epoch']}: loss {metrics['train_loss']:.4f}, "
        f"accuracy {metrics['train_accuracy']:.2%};{validated} test loss "
        f"{metrics['test_loss']:.4f}, accuracy {metrics['test_accuracy']:.2%}; "
        f"{metrics['seconds']:.1f} s, {metrics['images_per_second']:,.0f} images/s"
    )


def _figures(progress: BatchProgress) -> str:
    return (
        f"loss {progress.loss:.4f}  accuracy {progress.accuracy:6.2%}  "
        f"{progress.images_per_second:,.0f} images/s"
    )

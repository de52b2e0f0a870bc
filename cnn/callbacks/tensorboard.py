"""Curves for TensorBoard, written by tensorboardX where that is installed."""

from __future__ import annotations

import importlib
import os
from typing import Any

from cnn.fitting import Fit
from cnn.monitoring import BatchProgress, EpochMetrics, Observer


class TensorBoard(Observer):
    """Writes the learning rate and the running loss of each step, and each epoch's metrics.

    Parameters
    ----------
    folder : str or os.PathLike
        Where TensorBoard looks: ``tensorboard --logdir FOLDER``.

    Raises
    ------
    ModuleNotFoundError
        If tensorboardX is not installed; the message says how to install it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            self._module = importlib.import_module("tensorboardX")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "logs for TensorBoard need the package tensorboardX: "
                "pip install tensorboardX, or leave TensorBoard out"
            ) from error
        self._folder = os.fspath(folder)
        self._fit: Fit | None = None
        self._writer: Any = None

    def on_start(self, fit: Fit) -> None:
        """Open the log; after a resume, let go of what was logged after the checkpoint."""
        self._fit = fit
        done = self._step()
        self._writer = self._module.SummaryWriter(self._folder, purge_step=done + 1)

    def on_batch(self, progress: BatchProgress) -> None:
        """Log a step."""
        if self._fit is not None:
            rate = self._fit.trainer.optimizer.lr
            self._writer.add_scalar("step/loss", progress.loss, self._step())
            self._writer.add_scalar("step/lr", rate, self._step())

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Log an epoch."""
        for name, value in metrics.items():
            if name != "epoch":
                self._writer.add_scalar(f"epoch/{name}", value, self._step())
        self._writer.flush()

    def on_interrupt(self) -> None:
        """Close the log."""
        self._writer.close()

    def on_end(self) -> None:
        """Close the log."""
        self._writer.close()

    def _step(self) -> int:
        """Steps done so far: what both curves are drawn over."""
        fit = self._fit
        return 0 if fit is None else (fit.epoch - 1) * fit.batches + fit.batch

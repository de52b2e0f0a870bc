"""Saving the training to continue it, and the best model to use it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from cnn import checkpoint
from cnn.callbacks.selection import Monitor, best_epoch, checked_monitor, need_validation
from cnn.files import remove_leftovers
from cnn.fitting import Fit
from cnn.monitoring import EpochMetrics, Observer
from cnn.optim.base import positive
from cnn.scaling import Scaling
from cnn.serialization import save
from kernels.ops import checks

LOG = logging.getLogger(__name__)


class Checkpoint(Observer):
    """Saves the training at its start and end, on Ctrl-C, and every so often.

    ``trainer.fit(..., resume_from=path)`` continues from the file, in the midst of an epoch too,
    and reaches the same bits as a run that never stopped. The file appears whole or not at all:
    the old one is there until the new one is on the disk.

    Parameters
    ----------
    path : str or os.PathLike
        The file. What was there is replaced when the training starts.
    every_seconds : float, optional
        Save again after so many seconds; not by time if None.
    every_steps : int, optional
        Save again after so many steps, too.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_seconds: float | None = 60.0,
        every_steps: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.every_seconds = (
            None if every_seconds is None else positive("every_seconds", every_seconds)
        )
        self.every_steps = (
            None if every_steps is None else checks.integer("every_steps", every_steps, 1)
        )
        self._fit: Fit | None = None
        self._saved_at: float | None = None
        self._steps = 0

    def on_start(self, fit: Fit) -> None:
        """Forget an earlier training."""
        self._fit, self._saved_at, self._steps = fit, None, 0
        remove_leftovers(self.path)

    def on_batch(self, progress: object) -> None:
        """Count the step."""
        self._steps += 1

    def on_save_point(self) -> None:
        """Save, if it is time."""
        if self._due():
            self.save()

    def on_interrupt(self) -> None:
        """Save, and say so."""
        self.save()
        LOG.info("%s: saved, so that the training can be resumed", self.path)

    def save(self) -> None:
        """Save now.

        Raises
        ------
        OSError
            If the file cannot be written; the old one is still there then.
        """
        if self._fit is not None:
            checkpoint.write(self._fit, self.path)
            self._saved_at, self._steps = monotonic(), 0

    def _due(self) -> bool:
        if self._saved_at is None or (self._fit is not None and self._fit.finished):
            return True
        if self.every_steps is not None and self._steps >= self.every_steps:
            return True
        elapsed = monotonic() - self._saved_at
        return self.every_seconds is not None and elapsed >= self.every_seconds


class BestModel(Observer):
    """Saves the model, as ``cnn.save`` does, after each epoch that is the best so far.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write or replace; ``cnn.load`` reads it.
    monitor : str
        ``"validation_loss"`` or ``"validation_accuracy"``.
    scaling, class_names
        As for :func:`cnn.save`.

    Raises
    ------
    ValueError
        If the monitor is another one; when training starts, if there are no validation data or
        the model was not built by ``cnn.models``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: Monitor = "validation_loss",
        *,
        scaling: Scaling | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.monitor = checked_monitor(monitor)
        self._scaling, self._class_names = scaling, class_names
        self._fit: Fit | None = None

    def on_start(self, fit: Fit) -> None:
        """Refuse to select without validation data, or a model that cannot be saved."""
        need_validation("BestModel", fit.validation)
        if fit.trainer.model.architecture is None:
            raise ValueError("BestModel needs a model built by cnn.models, as cnn.save does")
        self._fit = fit
        remove_leftovers(self.path)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Save, if this is the best epoch."""
        fit = self._fit
        if fit is not None and best_epoch(fit.history, self.monitor) == metrics["epoch"]:
            model = fit.trainer.model
            save(model, self.path, scaling=self._scaling, class_names=self._class_names)

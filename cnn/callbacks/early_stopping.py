"""Ending a training that no longer gets better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnn.arrays import AnyArray
from cnn.callbacks.selection import Monitor, best_epoch, checked_monitor, need_validation
from cnn.fitting import Fit
from cnn.monitoring import EpochMetrics, Observer
from kernels.ops import checks


class EarlyStopping(Observer):
    """Ends the training after so many epochs without a better one, and restores the best weights.

    Parameters
    ----------
    patience : int
        Epochs without a better one to wait for.
    monitor : str
        ``"validation_loss"`` or ``"validation_accuracy"``.
    min_delta : float
        An epoch counts as better from so much above the best before.
    restore_best : bool
        At the end, put the best epoch's weights into the model, whatever ended the training.

    Attributes
    ----------
    best_epoch : int
        The best epoch so far; 0 before the first.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit; when training starts, if there are no validation data.
    """

    def __init__(
        self,
        patience: int = 5,
        monitor: Monitor = "validation_loss",
        *,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.patience = checks.integer("patience", patience, 1)
        self.monitor = checked_monitor(monitor)
        self.min_delta = checks.number("min_delta", min_delta)
        self.restore_best = restore_best
        self.best_epoch = 0
        self._fit: Fit | None = None
        self._best: dict[str, AnyArray] = {}

    def on_start(self, fit: Fit) -> None:
        """Refuse to select without validation data."""
        need_validation("EarlyStopping", fit.validation)
        self._fit, self._best = fit, {}
        self.best_epoch = best_epoch(fit.history, self.monitor, self.min_delta)

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Keep the weights if this is the best epoch; stop if the last best is too long ago."""
        if self._fit is None:
            return
        self.best_epoch = best_epoch(self._fit.history, self.monitor, self.min_delta)
        if self.best_epoch == metrics["epoch"] and self.restore_best:
            self._best = self._fit.trainer.model.state_dict()
        if metrics["epoch"] - self.best_epoch >= self.patience:
            self._fit.stop()

    def on_end(self) -> None:
        """Restore the best weights."""
        if self._fit is not None and self._best:
            self._fit.trainer.model.load_state_dict(self._best)

    def state_dict(self) -> dict[str, AnyArray]:
        """Return the best epoch's weights."""
        return dict(self._best)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the best epoch's weights back."""
        if self.best_epoch and self.restore_best and not state:
            raise ValueError("it was saved without EarlyStopping, so the best weights are unknown")
        self._best = dict(state)

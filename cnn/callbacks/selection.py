"""Which epoch was best: by validation data, never by the test's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from cnn.monitoring import EpochMetrics

Monitor = Literal["validation_loss", "validation_accuracy"]
SIGNS = {"validation_loss": -1.0, "validation_accuracy": 1.0}


def checked_monitor(name: Any) -> Monitor:
    """Return the name of a metric to select by.

    Raises
    ------
    ValueError
        If it is another one.
    """
    if name not in SIGNS:
        raise ValueError(f"monitor must be one of {', '.join(map(repr, SIGNS))}; got {name!r}")
    return cast("Monitor", name)


def need_validation(what: str, validation: object) -> None:
    """Raise ValueError if there are no validation data."""
    if validation is None:
        raise ValueError(f"{what} needs validation data to select by, but fit got none")


def best_epoch(history: Sequence[EpochMetrics], monitor: Monitor, min_delta: float = 0.0) -> int:
    """Return the number of the best epoch, the first of equals; 0 if there is none.

    An epoch counts as better from ``min_delta`` above the best before.
    """
    best, found = 0, float("-inf")
    for metrics in history:
        value = SIGNS[monitor] * metrics[monitor]
        if value > found + (min_delta if best else 0.0):
            best, found = metrics["epoch"], value
    return best

"""Schedules: the learning rate of each step of a training run.

A schedule computes a factor of the optimiser's ``lr`` from the number of the step alone. It
remembers nothing, so that a resumed run needs only to know where it is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import kernels
from cnn.optim.base import fraction, positive
from kernels.ops import checks


class Schedule(ABC):
    """Factors of the learning rate, one for each step.

    Parameters
    ----------
    warmup : int
        Steps in which the rate rises evenly from ``1 / (warmup + 1)`` of what the schedule starts
        with; the schedule itself comes after them. PyTorch's ``SequentialLR`` of
        ``LinearLR(start_factor=1 / (warmup + 1), total_iters=warmup)`` and the schedule.

    Attributes
    ----------
    needs_total : bool
        Class attribute: whether the factors depend on how many steps there will be.

    Raises
    ------
    kernels.ShapeError, TypeError
        If the argument does not fit.
    """

    needs_total: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = ("warmup",)

    def __init__(self, warmup: int = 0) -> None:
        self.warmup = checks.integer("warmup", warmup, 0)

    def factor(self, step: int, total: int) -> float:
        """Return the factor of the learning rate.

        Parameters
        ----------
        step : int
            Steps done before this one: 0 for the first.
        total : int
            How many steps there will be.

        Raises
        ------
        kernels.ShapeError
            If the warm-up leaves no step.
        """
        if self.warmup >= total:
            raise kernels.ShapeError(
                f"warmup must be shorter than the training of {total} steps, got {self.warmup}"
            )
        if step < self.warmup:
            return self.after_warmup(0, total - self.warmup) * (step + 1) / (self.warmup + 1)
        return self.after_warmup(step - self.warmup, total - self.warmup)

    @abstractmethod
    def after_warmup(self, step: int, total: int) -> float:
        """Return the factor, with steps counted from the end of the warm-up."""

    def describe(self) -> dict[str, Any]:
        """Return the schedule's name and settings, ready for JSON."""
        return {"name": type(self).__name__} | {name: getattr(self, name) for name in self.settings}


class Constant(Schedule):
    """The same rate throughout."""

    needs_total = False

    def after_warmup(self, step: int, total: int) -> float:
        """Return 1."""
        return 1.0


class Step(Schedule):
    """The rate times ``gamma`` every ``size`` steps, PyTorch's ``StepLR``.

    Parameters
    ----------
    size : int
        Steps (mini-batches, not epochs) between two changes.
    gamma : float
        What each change multiplies by, above 0.
    warmup : int
        As for :class:`Schedule`.
    """

    needs_total = False
    settings = ("size", "gamma", "warmup")

    def __init__(self, size: int, gamma: float = 0.1, *, warmup: int = 0) -> None:
        super().__init__(warmup)
        self.size = checks.integer("size", size, 1)
        self.gamma = positive("gamma", gamma)

    def after_warmup(self, step: int, total: int) -> float:
        """Return ``gamma ^ (step // size)``."""
        return math.pow(self.gamma, step // self.size)


class Cosine(Schedule):
    """Half a cosine from the rate down to ``floor`` times it, PyTorch's ``CosineAnnealingLR``.

    Loshchilov & Hutter, arXiv:1608.03983, without restarts.

    Parameters
    ----------
    floor : float
        Share of the rate that would be left one step after the last, below 1.
    warmup : int
        As for :class:`Schedule`.
    """

    settings = ("floor", "warmup")

    def __init__(self, floor: float = 0.0, *, warmup: int = 0) -> None:
        super().__init__(warmup)
        self.floor = fraction("floor", floor)

    def after_warmup(self, step: int, total: int) -> float:
        """Return ``floor + (1 - floor) · (1 + cos(π · step / total)) / 2``."""
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * step / total)) / 2


class OneCycle(Schedule):
    """Up to the rate and down again, both along half a cosine: PyTorch's ``OneCycleLR``.

    Smith & Topin, arXiv:1708.07120. The optimiser's ``lr`` is the peak. The momentum stays as it
    is (``cycle_momentum=False`` in PyTorch).

    Parameters
    ----------
    rising : float
        Share of the steps on the way up (``pct_start``), from 0 to below 1.
    start : float
        First rate as a share of the peak (1 / ``div_factor``).
    end : float
        Last rate as a share of the first (1 / ``final_div_factor``).
    warmup : int
        As for :class:`Schedule`; seldom of use here.
    """

    settings = ("rising", "start", "end", "warmup")

    def __init__(
        self, rising: float = 0.3, start: float = 0.04, end: float = 1e-4, *, warmup: int = 0
    ) -> None:
        super().__init__(warmup)
        self.rising = fraction("rising", rising)
        self.start, self.end = positive("start", start), positive("end", end)

    def after_warmup(self, step: int, total: int) -> float:
        """Return the factor on the way up or down."""
        peak, last = self.rising * total - 1, total - 1
        if step <= peak and peak > 0:
            return _between(self.start, 1.0, step / peak)
        peak = max(peak, 0.0)
        return _between(1.0, self.start * self.end, (step - peak) / max(last - peak, 1))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "step": Step,
    "cosine": Cosine,
    "one-cycle": OneCycle,
}


def _between(start: float, end: float, share: float) -> float:
    """Return what half a cosine from ``start`` to ``end`` has reached."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

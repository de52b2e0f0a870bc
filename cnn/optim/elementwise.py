"""Optimisers whose update is a few elementwise steps, which can be done where the gradient is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import kernels
from cnn.arrays import FloatArray
from cnn.optim.base import Optimizer
from cnn.parameter import Parameter
from kernels import fused
from kernels.elementwise import Step, by_numpy
from kernels.fused_checks import check_steps

LARGE = 2**15
"""Elements from which on an update is worth a call of the backend."""


class Elementwise(Optimizer):
    """Updates each element of a parameter by that of its gradient, in the same steps.

    A subclass says which steps in :meth:`rule`, and the numbers in them in :meth:`numbers`: no more
    of either kind than :mod:`kernels.elementwise` allows, or else updates wait for all gradients.

    Attributes
    ----------
    scalars : array of float64
        The numbers of the step that was begun last; the same array each time.
    """

    def __init__(self, lr: float) -> None:
        super().__init__(lr)
        self.scalars = np.empty(0)
        self._scratch: dict[tuple[int, np.dtype[Any]], FloatArray] = {}

    @abstractmethod
    def numbers(self) -> Sequence[float]:
        """Return the numbers of this step: what a ``Scalar`` in the steps is the number of."""

    @abstractmethod
    def rule(self, parameter: Parameter, grad: FloatArray) -> list[Step]:
        """Return the steps of a parameter's update, which change its ``data`` in place."""

    def form(self) -> tuple[object, ...]:
        """Return what decides which steps there are; the same objects as long as they are.

        A rule depends on nothing else but the arrays: a trainer may ask for it once.
        """
        return ()

    def begin(self) -> None:
        """Begin a step: count it, and work out its numbers."""
        super().begin()
        numbers = self.numbers()
        if len(self.scalars) != len(numbers):
            self.scalars = np.empty(len(numbers))
        self.scalars[:] = numbers

    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Do the steps, to the same bits however.

        Large parameters go through the backend if it gains by it: on all cores, and in one pass.
        """
        steps = self.rule(parameter, grad)
        if parameter.data.size >= LARGE and fused.gains() and self._fit(steps):
            fused.elementwise(steps, self.scalars)
        else:
            by_numpy(steps, self.scalars, lambda number: self._temporary(parameter, number))

    @property
    def overridden(self) -> bool:
        """Whether a step is more than the rule: its method is a subclass's or the object's own."""
        kind = type(self)
        by_class = kind.update is not Elementwise.update or kind.step is not Optimizer.step
        return by_class or not vars(self).keys().isdisjoint(("step", "update"))

    def fits(self, parameters: Iterable[Parameter]) -> bool:
        """Tell whether :func:`kernels.fused.elementwise` takes the steps that were begun."""
        return all(self._fit(self.rule(each, each.grad_array())) for each in parameters)

    def _fit(self, steps: list[Step]) -> bool:
        try:
            check_steps(steps, self.scalars)
        except (kernels.ShapeError, TypeError):
            return False
        return True

    def _temporary(self, parameter: Parameter, number: int) -> FloatArray:
        """Return an array of the parameter's shape for intermediate results, the same each time."""
        data = parameter.data
        key = (number, data.dtype)
        if key not in self._scratch or self._scratch[key].size < data.size:
            self._scratch[key] = np.empty(data.size, data.dtype)
        return self._scratch[key][: data.size].reshape(data.shape)

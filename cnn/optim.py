"""Optimisers: how gradients change parameters."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from cnn.arrays import FloatArray
from cnn.parameter import Parameter
from cnn.registry import lookup


class Optimizer(ABC):
    """Changes parameters in place by their gradients.

    Parameters
    ----------
    lr : float
        Learning rate: finite and above 0.

    Raises
    ------
    ValueError, TypeError
        If lr is out of range or no number.
    """

    def __init__(self, lr: float) -> None:
        if isinstance(lr, bool) or not isinstance(lr, numbers.Real):
            raise TypeError(f"lr must be a number, got {lr!r}")
        if not (math.isfinite(lr) and lr > 0):
            raise ValueError(f"lr must be finite and above 0, got {lr!r}")
        self.lr: float = float(lr)

    def step(self, parameters: Iterable[Parameter]) -> None:
        """Update each parameter by its ``grad``.

        Raises
        ------
        RuntimeError
            If one has no gradient; nothing has been updated then.
        """
        pairs = [(parameter, _gradient(parameter)) for parameter in parameters]
        for parameter, grad in pairs:
            self.update(parameter, grad)

    @abstractmethod
    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Change one parameter's ``data`` in place."""


class SGD(Optimizer):
    """Stochastic gradient descent: ``data -= lr · grad`` (Robbins & Monro, 1951)."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Take one step downhill."""
        parameter.data -= self.lr * grad


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD}


def create(name: str, **kwargs: Any) -> Optimizer:
    """Make the optimiser of that name with its class's arguments.

    Raises
    ------
    ValueError, TypeError
        If there is no such optimiser (the message lists those there are) or an argument does not
        fit.
    """
    return lookup("optimizer", OPTIMIZERS, name)(**kwargs)


def _gradient(parameter: Parameter) -> FloatArray:
    if parameter.grad is None:
        raise RuntimeError(f"{parameter} has no gradient: run backward before step")
    return parameter.grad

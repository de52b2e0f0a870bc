"""What every optimiser is: how gradients change parameters, and what it remembers of them."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from cnn.arrays import AnyArray, FloatArray
from cnn.layers.state import fitted
from cnn.parameter import Parameter


class Optimizer(ABC):
    """Changes parameters in place by their gradients.

    A subclass names its settings and the arrays it keeps beside each parameter in the class
    attributes, and computes in :meth:`update`.

    Parameters
    ----------
    lr : float
        Learning rate: finite and above 0.

    Attributes
    ----------
    lr : float
        May be changed between steps, as a schedule does.
    steps : int
        Steps taken so far.
    settings : tuple of str
        Class attribute: names of the attributes that make two optimisers the same.
    slots : tuple of str
        Names of the arrays kept beside each parameter; set before the first step.

    Raises
    ------
    ValueError, TypeError
        If lr is out of range or no number.
    """

    settings: ClassVar[tuple[str, ...]] = ("lr",)
    slots: tuple[str, ...] = ()

    def __init__(self, lr: float) -> None:
        self.lr = positive("lr", lr)
        self.steps = 0
        self._kept: dict[Parameter, dict[str, FloatArray]] = {}

    def step(self, parameters: Iterable[Parameter]) -> None:
        """Update each parameter by its ``grad``.

        Raises
        ------
        RuntimeError
            If one has no gradient; nothing has been updated then.
        """
        pairs = [(parameter, _gradient(parameter)) for parameter in parameters]
        self.begin()
        for parameter, grad in pairs:
            self.update(parameter, grad)

    def begin(self) -> None:
        """Begin a step: count it."""
        self.steps += 1

    @abstractmethod
    def update(self, parameter: Parameter, grad: FloatArray) -> None:
        """Change one parameter's ``data`` in place, and leave ``grad`` as it is."""

    def kept(self, parameter: Parameter) -> dict[str, FloatArray]:
        """Return the arrays kept beside a parameter, by slot; zeros at first."""
        if parameter not in self._kept:
            self._kept[parameter] = {slot: np.zeros_like(parameter.data) for slot in self.slots}
        return self._kept[parameter]

    def state_dict(self, parameters: Mapping[str, Parameter]) -> dict[str, AnyArray]:
        """Return copies of all that was remembered of named parameters.

        Returns
        -------
        dict
            ``steps``, and ``"<slot>.<parameter's name>"`` for each slot and parameter.
        """
        return {name: array.copy() for name, array in self._arrays(parameters).items()} | {
            "steps": np.array(self.steps)
        }

    def load_state_dict(
        self, parameters: Mapping[str, Parameter], state: Mapping[str, Any]
    ) -> None:
        """Remember what :meth:`state_dict` returned.

        Raises
        ------
        ValueError
            If names, shapes or dtypes do not fit. Nothing has been changed then.
        """
        arrays = self._arrays(parameters)
        values = fitted(arrays | {"steps": np.array(0)}, state)
        self.steps = int(values.pop("steps"))
        for name, value in values.items():
            arrays[name][...] = value

    def describe(self) -> dict[str, Any]:
        """Return the optimiser's name and settings, ready for JSON."""
        return {"name": type(self).__name__} | {name: getattr(self, name) for name in self.settings}

    def _arrays(self, parameters: Mapping[str, Parameter]) -> dict[str, AnyArray]:
        return {
            f"{slot}.{name}": self.kept(parameter)[slot]
            for slot in self.slots
            for name, parameter in parameters.items()
        }


def real(name: str, value: Any) -> float:
    """Check that something is a number, and no bool."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def positive(name: str, value: Any) -> float:
    """Check a number that has to be finite and above 0."""
    number = real(name, value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be finite and above 0, got {value!r}")
    return number


def fraction(name: str, value: Any) -> float:
    """Check a number from 0 to 1, 1 excluded."""
    number = real(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be from 0 to below 1, got {value!r}")
    return number


def _gradient(parameter: Parameter) -> FloatArray:
    if parameter.grad is None:
        raise RuntimeError(f"{parameter} has no gradient: run backward before step")
    return parameter.grad

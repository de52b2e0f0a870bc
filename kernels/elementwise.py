"""Elementwise steps, one after the other, on arrays of one shape: what an optimiser's update is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from kernels.backends.contract import FloatArray
    from kernels.lazy import Float64

OPERATIONS = ("add", "subtract", "multiply", "divide", "sqrt")
"""What a step may compute, by NumPy's names; the last one has no right operand."""

MOST_TEMPORARIES, MOST_SCALARS = 4, 8


class Temporary(NamedTuple):
    """Values that steps leave for later ones, and nobody else sees: one of a few, from 0 on."""

    number: int


class Scalar(NamedTuple):
    """One of the numbers given with the steps, from 0 on: they may change where the steps do not.

    It is rounded to the arrays' dtype.
    """

    number: int


class Step(NamedTuple):
    """``out = left operation right``, element by element, rounded to the arrays' dtype.

    Attributes
    ----------
    operation : str
        One of OPERATIONS.
    out : array or Temporary
        Where the result goes; may be an operand, too.
    left, right : array, Temporary or Scalar
        The operands; ``right`` is None for a root.
    """

    operation: str
    out: FloatArray | Temporary
    left: FloatArray | Temporary | Scalar
    right: FloatArray | Temporary | Scalar | None = None

    @property
    def arrays(self) -> list[FloatArray]:
        """Those of its operands and results that are arrays."""
        return [value for value in self[1:] if isinstance(value, np.ndarray)]


def by_numpy(
    steps: Sequence[Step], scalars: Float64, temporary: Callable[[int], FloatArray]
) -> None:
    """Do steps one after the other, each on the whole arrays.

    Parameters
    ----------
    steps : sequence of Step
        What to do.
    scalars : array of float64
        What a Scalar is the number of.
    temporary : callable
        Returns an array for the temporary of a number.
    """
    for operation, out, left, right in steps:
        target = temporary(out.number) if isinstance(out, Temporary) else out
        operands: list[Any] = []
        for value in (left, right):
            if isinstance(value, Temporary):
                operands.append(temporary(value.number))
            elif isinstance(value, Scalar):
                operands.append(target.dtype.type(scalars[value.number]))
            elif value is not None:
                operands.append(value)
        getattr(np, operation)(*operands, out=target)

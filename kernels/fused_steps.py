"""An optimiser's update as elementwise steps: by itself, or on weights as their gradient comes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.elementwise import Step
from kernels.fused_checks import check_array, check_steps, fused_backend
from kernels.lazy import Float64

NOTHING: Float64 = np.empty(0)


def linear_update(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
    steps: Sequence[Step],
    scalars: Float64,
    backend: str | None = None,
) -> None:
    """The gradients of :func:`kernels.linear`, then elementwise steps: the weights' update.

    Steps may be done on a block of the weights as soon as its gradient is there and nobody reads
    the block any more: the same bits as :func:`elementwise` afterwards.

    Parameters
    ----------
    grad_y : (N, O) array
        Gradient with respect to the outputs.
    x, weight : (N, I) and (O, I) array
        As given to :func:`kernels.linear`.
    grad_x, grad_weight, grad_bias : arrays of the shapes of x and the parameters
        Are given theirs.
    steps, scalars
        As for :func:`elementwise`, on arrays of weight's shape.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    (N, I), O = x.shape, len(weight)
    wanted: dict[str, tuple[FloatArray, tuple[int, ...]]]
    wanted = {"weight": (weight, (O, I)), "grad_y": (grad_y, (N, O)), "grad_x": (grad_x, (N, I))}
    wanted |= {"grad_weight": (grad_weight, (O, I)), "grad_bias": (grad_bias, (O,))}
    for name, (array, shape) in wanted.items():
        check_array(name, array, shape, x)
    check_steps(steps, scalars)
    for array in (array for step in steps for array in step.arrays):
        check_array("the steps' arrays", array, weight.shape, weight)
    chosen.linear_update(
        *(grad_y, x, weight),
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        steps=steps,
        scalars=scalars,
    )


def elementwise(
    steps: Sequence[Step], scalars: Float64 = NOTHING, *, backend: str | None = None
) -> None:
    """Do elementwise steps one after the other: an optimiser's update, in one pass over memory.

    Each step's result is rounded, as NumPy does it: an update has the same bits everywhere.

    Parameters
    ----------
    steps : sequence of Step
        What to do; see :class:`kernels.elementwise.Step`.
    scalars : array of float64, C-contiguous
        The numbers that a :class:`kernels.elementwise.Scalar` stands for, at most 8.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If the arrays are not C-contiguous and of one shape and dtype, a step is none that there is,
        or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    check_steps(steps, scalars)
    chosen.elementwise(steps, scalars)

"""Rectified linear unit."""

from __future__ import annotations

from kernels import dispatch
from kernels.backends.contract import FloatArray
from kernels.ops import checks
from kernels.ops.repeating import repeatable


@repeatable
def relu(x: FloatArray, *, out: FloatArray | None = None, backend: str | None = None) -> FloatArray:
    """Element by element ``max(x, 0)``; NaN stays NaN, so that divergence stays visible.

    Parameters
    ----------
    x : array of float32 or float64
        Any shape.
    out : array of x's shape, optional
        Where to write the result.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    array of x's shape

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(x=x)
    y = checks.result(chosen, out, x.shape, x, x=x)
    chosen.relu(x, out=y)
    return y


@repeatable
def relu_backward(
    grad_y: FloatArray,
    y: FloatArray,
    *,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Gradient of :func:`relu`: ``grad_y`` where ``y > 0`` or y is NaN, 0 elsewhere.

    Parameters
    ----------
    grad_y : array of y's shape
        Gradient with respect to the output.
    y : array of float32 or float64
        Output of :func:`relu`; its input does as well.
    out : array of y's shape, optional
        Where to write the result.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    array of y's shape

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(y=y, grad_y=grad_y)
    checks.shape("grad_y", grad_y, y.shape, "y")
    grad_x = checks.result(chosen, out, y.shape, y, y=y, grad_y=grad_y)
    chosen.relu_backward(grad_y, y, out=grad_x)
    return grad_x

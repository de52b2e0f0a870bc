"""The fused operations as functions of arrays, which return all that they find out."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import fused
from kernels.capturing import also
from kernels.dispatch import resolve
from kernels.geometry import ConvGeometry, PoolGeometry
from kernels.lazy import Pooled, Pull, Read


def conv_forward(
    *arrays: Any,
    relu: bool,
    stats: bool,
    stores: bool,
    geometry: ConvGeometry,
    pool: PoolGeometry | None,
    backend: str,
) -> tuple[Any, ...]:
    """Return y, its mean and variance, what it is pooled to, and its values at the positions."""
    *read, weight, bias, norm_weight = arrays
    empty = resolve(backend).empty
    y = empty(geometry.y_shape, weight.dtype) if stores else None
    pooled = None
    if pool is not None:
        values, position = (empty(pool.y_shape, np.dtype(t)) for t in (weight.dtype, np.uint8))
        pooled = Pooled(pool, values, position, norm_weight)
    moments = fused.conv_forward(
        Read(*read)._replace(relu=relu),
        weight,
        bias,
        geometry,
        stats=stats,
        out=y,
        pooled=pooled,
        backend=backend,
    )
    parts = (y, *(moments or (None, None)))
    if pooled is None:
        return (*parts, None, None)
    return (*parts, pooled.values, None if y is None else _at_positions(y, pooled))


def _at_positions(y: Any, pooled: Pooled) -> Any:
    """Return the values of y where a pooling says that it took them, looked up in each replay."""
    found = np.empty(pooled.values.shape, y.dtype)

    def look_up() -> None:
        assert pooled.position is not None
        taps = pooled.position[..., None].astype(np.int64)
        found[...] = np.take_along_axis(_windows(y, pooled.pool), taps, axis=-1)[..., 0]

    also(look_up)
    return found


def _windows(y: Any, pool: PoolGeometry) -> Any:
    """Return the windows of a pooling without dilation, (N, C, PH, PW, taps)."""
    height, width = pool.height, pool.width
    windows = np.lib.stride_tricks.sliding_window_view(y, (height.kernel, width.kernel), (2, 3))
    windows = windows[:, :, :: height.stride, :: width.stride]
    return windows[:, :, : height.outputs, : width.outputs].reshape(*pool.y_shape, -1)


def conv_backward(
    *arrays: Any,
    relu: bool,
    wanted: tuple[bool, bool],
    geometry: ConvGeometry,
    pool: PoolGeometry | None,
    backend: str,
) -> tuple[Any, ...]:
    """Return the gradients of x, weight and bias, and the sums; None for what is not wanted."""
    pull, read, (weight, add) = arrays[:7], arrays[7:11], arrays[11:]
    grad_x = resolve(backend).empty(geometry.x_shape, weight.dtype) if wanted[0] else None
    grad_weight = np.empty_like(weight, order="C")
    grad_bias = np.empty(geometry.out_channels, weight.dtype) if wanted[1] else None
    sums = fused.conv_backward(
        Pull(*pull)._replace(pool=pool),
        Read(*read)._replace(relu=relu),
        weight,
        geometry,
        add=add,
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        backend=backend,
    )
    return (grad_x, grad_weight, grad_bias, *(sums or (None, None)))


def join_forward(
    *arrays: Any, relu: bool, pool: PoolGeometry | None, in_order: bool, backend: str
) -> tuple[Any, ...]:
    """Return y, in the order of its axes or the backend's, and with a pool the positions."""
    chosen = resolve(backend)
    x = arrays[0]
    empty = np.empty if in_order else chosen.empty
    y = empty(x.shape if pool is None else pool.y_shape, x.dtype)
    position = None if pool is None else chosen.empty(pool.y_shape, np.dtype(np.uint8))
    fused.join_forward(_reads(arrays), relu, pool, out=y, position=position, backend=backend)
    return y, position


def join_backward(
    *arrays: Any, relu: bool, pool: PoolGeometry | None, backend: str
) -> tuple[Any, ...]:
    """Return the gradient in front of ReLU, if it is stored, and the sums of each read."""
    grad_y, position, y, *read_arrays = arrays
    out = resolve(backend).empty(y.shape, y.dtype) if relu and pool is None else None
    sums = fused.join_backward(
        grad_y, position, y, _reads(read_arrays), relu, pool, out=out, backend=backend
    )
    return (out, *(part for each in sums for part in each or (None, None)))


def _reads(arrays: Any) -> tuple[Read, ...]:
    return tuple(Read(*arrays[i : i + 4]) for i in range(0, len(arrays), 4))


def elementwise(*arrays: Any, steps: tuple[Any, ...], backend: str) -> tuple[Any, ...]:
    """Return what steps make of arrays, which their operands are numbers of."""
    *before, scalars = arrays
    results = [_copied(array) for array in before]

    def operand(value: Any) -> Any:
        return results[value] if isinstance(value, int) else value

    done = [fused.Step(name, *map(operand, operands)) for name, *operands in steps]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        fused.elementwise(done, scalars, backend=backend)
    return tuple(results)


def linear_update(*arrays: Any, backend: str) -> tuple[Any, ...]:
    """Return the gradients of a linear layer, and its weights after a step downhill."""
    grad_y, x, weight, scalars = arrays
    weights, grad_weight = _copied(weight), np.empty(weight.shape, weight.dtype)
    grad_x, grad_bias = np.empty(x.shape, x.dtype), np.empty(len(weight), x.dtype)
    work = fused.Temporary(0)
    fused.linear_update(
        *(grad_y, x, weights),
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
        steps=[
            fused.Step("multiply", work, grad_weight, fused.Scalar(0)),
            fused.Step("subtract", weights, weights, work),
        ],
        scalars=scalars,
        backend=backend,
    )
    return grad_x, grad_weight, grad_bias, weights


def cross_entropy(logits: Any, labels: Any, *, backend: str) -> tuple[Any, ...]:
    """Return the loss of each row, and the gradient of their mean."""
    losses, grad = np.empty(len(logits)), np.empty(logits.shape, logits.dtype)
    fused.cross_entropy(logits, labels, losses=losses, grad_logits=grad, backend=backend)
    return losses, grad


def _copied(array: Any) -> Any:
    """Return a C-contiguous copy, made anew in each replay."""
    copy = np.empty(array.shape, array.dtype)
    also(np.copyto, copy, array)
    return copy

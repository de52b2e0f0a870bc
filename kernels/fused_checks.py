"""Whether what the fused operations are given fits together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kernels import dispatch
from kernels.backends import contract
from kernels.backends.contract import FloatArray, FusedBackend
from kernels.elementwise import (
    MOST_SCALARS,
    MOST_TEMPORARIES,
    OPERATIONS,
    Scalar,
    Step,
    Temporary,
)
from kernels.errors import ShapeError
from kernels.geometry import ConvGeometry, PoolGeometry
from kernels.lazy import MOST_TAPS, Float64, Pooled, Pull, Read


def fused_backend(name: str | None) -> FusedBackend:
    """Return a backend, the current one if none is named, that has the fused operations."""
    chosen = dispatch.resolve(name)
    if not contract.offers_fused(chosen):
        raise TypeError(
            f"backend {dispatch.chosen_name(name)!r} has no fused operations; train with fuse=False"
        )
    return cast(FusedBackend, chosen)


def check_array(name: str, array: NDArray[Any], shape: tuple[int, ...], like: NDArray[Any]) -> None:
    """Check an array's shape, and its dtype against another's."""
    if array.shape != shape:
        raise ShapeError(f"{name} must have shape {shape}, got {array.shape}")
    if array.dtype != like.dtype:
        raise TypeError(f"{name} must be of {like.dtype} as what is read, got {array.dtype}")


def check_read(name: str, read: Read, shape: tuple[int, ...]) -> None:
    """Check that what is read has a shape, and its numbers per channel fit."""
    if read.x.shape != shape:
        raise ShapeError(f"{name} must be of shape {shape}, got {read.x.shape}")
    _check_channels(name, read.x, read.mean, read.scale, read.shift)


def _check_channels(name: str, x: FloatArray, *per_channel: FloatArray | None) -> None:
    """Check that numbers per channel are all there, or that none is."""
    first = per_channel[0]
    for array in per_channel:
        if (array is None) != (first is None):
            raise ShapeError(f"{name} must have all of its numbers per channel, or none")
        if array is not None:
            check_array(f"{name}'s numbers per channel", array, x.shape[1:2], x)


def check_in_order(**arrays: NDArray[Any]) -> None:
    """Check that arrays are C-contiguous."""
    for name, array in arrays.items():
        if not array.flags.c_contiguous:
            raise ShapeError(f"{name} must be C-contiguous, got strides {array.strides}")


def check_written(**arrays: NDArray[Any]) -> None:
    """Check that arrays can be written, and are C-contiguous."""
    check_in_order(**arrays)
    for name, array in arrays.items():
        if not array.flags.writeable:
            raise ShapeError(f"{name} must be writeable")


def check_pull(pull: Pull, shape: tuple[int, ...]) -> None:
    """Check that what is pulled has a shape once unpooled."""
    if pull.x is not None:
        if pull.mean is None:
            raise ShapeError("pull must have mean, a, b and c when it has an x")
        check_array("pull's x", pull.x, shape, pull.g)
        _check_channels("pull", pull.x, pull.mean, pull.a, pull.b, pull.c)
    check_array("pull's g", pull.g, shape if pull.pool is None else pull.pool.y_shape, pull.g)
    check_position(pull.position, pull.pool)
    if pull.pool is not None and pull.position is None:
        raise ShapeError("pull must have positions when it has a pool")


def check_parameters(
    x: FloatArray, weight: FloatArray, bias: FloatArray | None, geometry: ConvGeometry
) -> None:
    """Check weights and a bias against the geometry."""
    check_array("weight", weight, geometry.weight_shape, x)
    if bias is not None:
        check_array("bias", bias, (geometry.out_channels,), x)


def joined_shape(reads: tuple[Read, ...], pool: PoolGeometry | None) -> tuple[int, ...]:
    """Check what a join reads; return its shape."""
    if not reads:
        raise ShapeError("reads must hold one or more, got none")
    shape = reads[0].x.shape
    if pool is not None:
        shape = (pool.batch, pool.channels, pool.height.size, pool.width.size)
    for number, read in enumerate(reads):
        check_read(f"reads[{number}]", read, shape)
        check_array(f"reads[{number}]", read.x, shape, reads[0].x)
        if read.relu:
            raise ShapeError(f"reads[{number}] must have no ReLU of its own: join it first")
    return shape


def check_position(position: NDArray[np.uint8] | None, pool: PoolGeometry | None) -> None:
    """Check that positions are there where a pool is, or may be left out."""
    if pool is not None and math.prod((pool.height.kernel, pool.width.kernel)) > MOST_TAPS:
        raise ShapeError(f"pool must have at most {MOST_TAPS} taps")
    if position is None:
        return
    if pool is None or position.shape != pool.y_shape or position.dtype != np.uint8:
        wanted = "None without a pool" if pool is None else f"uint8 of shape {pool.y_shape}"
        raise ShapeError(f"position must be {wanted}, got {position.dtype} {position.shape}")


def check_pooled(pooled: Pooled, y_shape: tuple[int, ...], like: FloatArray) -> None:
    """Check that a pooling fits what is pooled."""
    pool = pooled.pool
    shape = (pool.batch, pool.channels, pool.height.size, pool.width.size)
    if shape != y_shape or not pool.apart:
        raise ShapeError(
            f"pooled's pool must have windows apart, inside images of {y_shape}; got {pool}"
        )
    check_array("pooled's values", pooled.values, pool.y_shape, like)
    check_position(pooled.position, pool)
    if pooled.weight is not None:
        check_array("pooled's weight", pooled.weight, y_shape[1:2], like)


def check_steps(steps: Sequence[Step], scalars: Float64) -> None:
    """Check elementwise steps: operations, operands, and that their arrays are alike."""
    arrays = [array for step in steps for array in step.arrays]
    if not arrays:
        raise ShapeError("steps must have an array among them")
    check_array("scalars", scalars, scalars.shape[:1], np.empty(0))
    check_in_order(scalars=scalars)
    if len(scalars) > MOST_SCALARS:
        raise ShapeError(f"scalars must be at most {MOST_SCALARS}, got {len(scalars)}")
    for number, step in enumerate(steps):
        _check_step(f"steps[{number}]", step, len(scalars))
        for array in step.arrays:
            check_array(f"steps[{number}]'s array", array, arrays[0].shape, arrays[0])
            check_in_order(**{f"steps[{number}]'s array": array})


def _check_step(name: str, step: Step, scalars: int) -> None:
    if step.operation not in OPERATIONS:
        raise ShapeError(f"{name} must be one of {', '.join(OPERATIONS)}; got {step.operation!r}")
    if (step.right is None) != (step.operation == "sqrt"):
        raise ShapeError(f"{name} must have a right operand unless it is sqrt")
    if not isinstance(step.out, np.ndarray | Temporary):
        raise TypeError(f"{name}'s out must be an array or a Temporary, got {step.out!r}")
    if isinstance(step.out, np.ndarray) and not step.out.flags.writeable:
        raise ShapeError(f"{name}'s out must be writeable")
    for value in (step.left, step.right):
        if not isinstance(value, np.ndarray | Temporary | Scalar | None):
            raise TypeError(
                f"{name}'s operands must be arrays, Temporaries or Scalars, got {value!r}"
            )
    for value in step[1:]:
        if isinstance(value, Temporary) and not 0 <= value.number < MOST_TEMPORARIES:
            raise ShapeError(f"{name} must use temporaries from 0 to {MOST_TEMPORARIES - 1}")
        if isinstance(value, Scalar) and not 0 <= value.number < scalars:
            raise ShapeError(f"{name} must use scalars below {scalars}, got {value.number}")

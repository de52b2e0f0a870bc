"""The fused operations: loop nests that load and finish as well (``loading``, ``finishing``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.channels import norm_backward, norm_forward, norm_track
from kernels.backends.numba.choosing import backward_plan, forward_plan
from kernels.backends.numba.dense_backward import linear_update
from kernels.backends.numba.jobs import run_jobs
from kernels.backends.numba.joining import join_backward, join_forward
from kernels.backends.numba.memory import FlatOutput, flat_input, flat_parameter
from kernels.backends.numba.operands import (
    Finished,
    Pooling,
    loaded_pull,
    loaded_read,
    norm_of,
)
from kernels.backends.numba.reduction import added_up
from kernels.backends.numba.running import (
    by_input,
    by_output,
    gathering,
    run_accumulate,
)
from kernels.backends.numba.softmax_rows import cross_entropy
from kernels.backends.numba.updating import elementwise
from kernels.geometry import ConvGeometry
from kernels.lazy import Moments, Pooled, Pull, Read, Sums

__all__ = [
    "conv_backward",
    "conv_forward",
    "cross_entropy",
    "elementwise",
    "join_backward",
    "join_forward",
    "linear_update",
    "norm_backward",
    "norm_forward",
    "norm_track",
]


def conv_forward(
    read: Read,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
    *,
    stats: bool,
    out: FloatArray | None,
    pooled: Pooled | None = None,
) -> Moments | None:
    """Apply batch-norm and ReLU while loading, sum moments and pool while y is in cache."""
    loaded = loaded_read(read)
    plan = forward_plan(geometry, read.x.dtype, loaded)
    O = geometry.out_channels
    moments, slots = (np.empty((2, O)), np.empty((plan.slots, 3, O))) if stats else (None, None)
    target = nullcontext() if out is None else FlatOutput(out)
    with target as y, _flat_pooling(pooled) as pooling:
        job = gathering(
            plan,
            geometry,
            flat_input(read.x),
            by_output(weight),
            bias,
            y,
            loaded=loaded,
            finished=Finished(moments=moments, slots=slots, pooling=pooling),
        )
        run_jobs([job], read.x.dtype)
    return None if moments is None else Moments(*moments)


@contextmanager
def _flat_pooling(pooled: Pooled | None) -> Iterator[Pooling | None]:
    """Return how results are pooled into flat arrays; ``with`` copies back if it must."""
    if pooled is None:
        yield None
        return
    weight = None if pooled.weight is None else flat_parameter(pooled.weight)
    with FlatOutput(pooled.values) as values:
        if pooled.position is None:
            yield Pooling(pooled.pool, values, None, weight)
        else:
            with FlatOutput(pooled.position) as position:
                yield Pooling(pooled.pool, values, position, weight)


def conv_backward(
    pull: Pull,
    read: Read,
    weight: FloatArray,
    geometry: ConvGeometry,
    *,
    add: FloatArray | None = None,
    grad_x: FloatArray | None,
    grad_weight: FloatArray,
    grad_bias: FloatArray | None,
) -> Sums | None:
    """Pull the gradient while loading; mask the result, and sum it, while it is in cache."""
    x, g, pulled = flat_input(read.x), flat_input(pull.g), loaded_pull(pull)
    accumulate = partial(
        run_accumulate,
        *(geometry, x, g, grad_weight),
        read=loaded_read(read),
        pulled=pulled,
        grad_bias=grad_bias,
    )
    if grad_x is None:
        accumulate()
        return None
    plan = backward_plan(geometry, x.dtype, pulled)
    norm = norm_of(read)
    slots = None if norm is None else np.empty((plan.slots, 2, geometry.channels))
    finished = Finished(
        added=None if add is None else flat_input(add),
        masked=x,
        mask=norm,
        mask_relu=read.relu,
        slots=slots,
    )
    with FlatOutput(grad_x) as target:
        arguments = plan, geometry, g, by_input(weight), None, target
        gather = gathering(*arguments, loaded=pulled, finished=finished)
        accumulate(beside=(plan, gather))
    return None if slots is None else added_up(slots)

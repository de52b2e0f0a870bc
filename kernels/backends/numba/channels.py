"""Batch-norm's numbers for each channel, between one kernel and the next: see ``kernels.lazy``.

There are few, and NumPy would compute them as fast; but in a training step each call of NumPy finds
its code out of cache, and parts tables that are one otherwise.
"""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.calls import doubles_at, integers_at
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import flat_parameter
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import at_address
from kernels.backends.numba.workspace import Borrowed
from kernels.capturing import also
from kernels.lazy import Float64, Moments, Running, Sums, follow

C_, WEIGHT, MEAN, RSTD, OUT, EPS = range(6)
WIDE, VAR, BIAS = range(6, 9)
COUNT, SUMS, SUMS_X, GRAD_WEIGHT, GRAD_BIAS = range(6, 11)
RUNNING_MEAN, RUNNING_VAR, BATCHES, SHARES = range(7, 11)
"""Entries of all, of the forward, of the backward, and of the running statistics."""


def norm_forward(
    moments: Moments,
    weight: FloatArray,
    bias: FloatArray,
    eps: float,
    *,
    rstd: Float64,
    out: FloatArray,
) -> None:
    """Write mean, scale and shift."""
    mean, var, weights, biases = map(flat_parameter, (*moments, weight, bias))
    numbers = out.reshape(-1)
    entries = (len(weight), weights, mean, rstd, numbers, np.array([eps], np.float64))
    wide = mean.dtype == np.float64
    with Borrowed(numbers.size, numbers.dtype) as memory:
        run([Phase(NORMALIZER, 1, 1)], (*entries, wide, var, biases), memory)


def norm_backward(
    sums: Sums,
    weight: FloatArray,
    mean: FloatArray,
    rstd: Float64,
    count: int,
    *,
    out: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Write mean, a, b and c, and the parameters' gradients."""
    vectors = [flat_parameter(vector) for vector in (weight, mean, rstd)]
    of_sums = map(flat_parameter, sums)
    numbers = out.reshape(-1)
    entries = (len(weight), *vectors, numbers, None, count, *of_sums, grad_weight, grad_bias)
    run([Phase(PULLBACK, 1, 1)], entries, numbers)


def norm_track(
    mean: FloatArray,
    rstd: FloatArray,
    eps: float,
    count: int,
    momentum: float,
    *,
    running: Running,
) -> None:
    """Move the running statistics."""
    if not (running.mean.flags.c_contiguous and running.var.flags.c_contiguous):
        also(follow, running, mean, rstd, eps, count, momentum)
        return
    wide = rstd.dtype != mean.dtype
    shares = np.array([momentum, count / (count - 1)], np.float64)
    vectors = None, flat_parameter(mean), flat_parameter(rstd), None, np.array([eps], np.float64)
    run([Phase(FOLLOW, 1, 1)], (len(mean), *vectors, wide, *running, shares), vectors[1])


@serial
def _doubles(call, entry):
    return doubles_at(call[entry], 0)


def _normalizer(work, call, _):
    mean, var = at_address(work, call[MEAN]), at_address(work, call[VAR])
    wide_mean, wide_var = _doubles(call, MEAN), _doubles(call, VAR)
    weight, bias = at_address(work, call[WEIGHT]), at_address(work, call[BIAS])
    out, rstd, eps = at_address(work, call[OUT]), _doubles(call, RSTD), _doubles(call, EPS)[0]
    C, wide = call[C_], call[WIDE] > 0
    for c in range(C):  # by itself, and so in vectors: roots and quotients take most of the time
        rstd[c] = 1.0 / np.sqrt((wide_var[c] if wide else np.float64(var[c])) + eps)
    for c in range(C):
        scale, middle = weight[c] * rstd[c], wide_mean[c] if wide else np.float64(mean[c])
        work[c], work[C + c] = middle, scale
        lost = middle - work[c]
        # Neither 0 times an infinite scale nor what an infinite mean loses is NaN.
        work[2 * C + c] = bias[c] - (scale * lost if abs(lost) > 0.0 else 0.0)
    # What a prediction leaves as it is stays in the caches of all cores: to fetch what was written
    # from this one's is slow (``keeping``). A zero may keep its sign.
    for i in range(3 * C):
        if out[i] != work[i]:
            out[i] = work[i]


def _pullback(work, call, _):
    weight, mean = at_address(work, call[WEIGHT]), at_address(work, call[MEAN])
    out, rstd = at_address(work, call[OUT]), _doubles(call, RSTD)
    total, products = _doubles(call, SUMS), _doubles(call, SUMS_X)
    grad_weight, grad_bias = at_address(work, call[GRAD_WEIGHT]), at_address(work, call[GRAD_BIAS])
    C = call[C_]
    for c in range(C):
        a, slope = weight[c] * rstd[c], rstd[c] * products[c]
        per_value = a / -call[COUNT]
        out[c], out[C + c] = mean[c], a
        out[2 * C + c], out[3 * C + c] = per_value * rstd[c] * slope, per_value * total[c]
        grad_weight[c], grad_bias[c] = slope, total[c]


def _follow(work, call, _):
    mean, rstd = at_address(work, call[MEAN]), at_address(work, call[RSTD])
    wide_rstd, eps = _doubles(call, RSTD), _doubles(call, EPS)[0]
    to_mean, to_var = at_address(work, call[RUNNING_MEAN]), at_address(work, call[RUNNING_VAR])
    momentum, bias = _doubles(call, SHARES)[0], _doubles(call, SHARES)[1]
    for c in range(call[C_]):
        root = wide_rstd[c] if call[WIDE] else np.float64(rstd[c])
        var = 1.0 / (root * root) - eps
        if var < 0.0:  # a NaN stays
            var = 0.0
        to_mean[c] = (1.0 - momentum) * to_mean[c] + momentum * mean[c]
        to_var[c] = (1.0 - momentum) * to_var[c] + momentum * (var * bias)
    integers_at(call[BATCHES], 0)[0] += 1


NORMALIZER, PULLBACK, FOLLOW = Task(_normalizer), Task(_pullback), Task(_follow)

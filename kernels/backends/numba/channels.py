"""Batch-norm's numbers for each channel, between one kernel and the next: see ``kernels.lazy``.

There are few, and NumPy would compute them as fast; but in a training step each call of NumPy finds
its code out of cache, and parts tables that are one otherwise.
"""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.calls import doubles_at, integers_at
from kernels.backends.numba.memory import flat_parameter
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import at_address
from kernels.capturing import also
from kernels.lazy import Float64, Moments, Running, Sums, follow

C_, WEIGHT, MEAN, RSTD, OUT, EPS = range(6)
VAR, BIAS = range(6, 8)
COUNT, SUMS, SUMS_X, GRAD_WEIGHT, GRAD_BIAS = range(6, 11)
WIDE, RUNNING_MEAN, RUNNING_VAR, BATCHES, SHARES = range(6, 11)
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
    entries = (len(weight), weights, mean, rstd, numbers, np.array([eps]), var, biases)
    run([Phase(NORMALIZER, 1, 1)], entries, numbers)


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
    shares = np.array([momentum, count / (count - 1)])
    vectors = None, flat_parameter(mean), flat_parameter(rstd), None, np.array([eps])
    run([Phase(FOLLOW, 1, 1)], (len(mean), *vectors, wide, *running, shares), vectors[1])


def _normalizer(work, call, _):
    mean, var, rstd = doubles_at(call[MEAN], 0), doubles_at(call[VAR], 0), doubles_at(call[RSTD], 0)
    weight, bias = at_address(work, call[WEIGHT]), at_address(work, call[BIAS])
    out, eps, C = at_address(work, call[OUT]), doubles_at(call[EPS], 0)[0], call[C_]
    for c in range(C):
        rstd[c] = 1.0 / np.sqrt(var[c] + eps)
        scale = weight[c] * rstd[c]
        out[c], out[C + c] = mean[c], scale
        lost = mean[c] - out[c]
        # Neither 0 times an infinite scale nor what an infinite mean loses is NaN.
        out[2 * C + c] = bias[c] - (scale * lost if abs(lost) > 0.0 else 0.0)


def _pullback(work, call, _):
    weight, mean = at_address(work, call[WEIGHT]), at_address(work, call[MEAN])
    out, rstd = at_address(work, call[OUT]), doubles_at(call[RSTD], 0)
    total, products = doubles_at(call[SUMS], 0), doubles_at(call[SUMS_X], 0)
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
    wide_rstd, eps = doubles_at(call[RSTD], 0), doubles_at(call[EPS], 0)[0]
    to_mean, to_var = at_address(work, call[RUNNING_MEAN]), at_address(work, call[RUNNING_VAR])
    momentum, bias = doubles_at(call[SHARES], 0)[0], doubles_at(call[SHARES], 0)[1]
    for c in range(call[C_]):
        root = wide_rstd[c] if call[WIDE] else np.float64(rstd[c])
        var = 1.0 / (root * root) - eps
        if var < 0.0:  # a NaN stays
            var = 0.0
        to_mean[c] = (1.0 - momentum) * to_mean[c] + momentum * mean[c]
        to_var[c] = (1.0 - momentum) * to_var[c] + momentum * (var * bias)
    integers_at(call[BATCHES], 0)[0] += 1


NORMALIZER, PULLBACK, FOLLOW = Task(_normalizer), Task(_pullback), Task(_follow)

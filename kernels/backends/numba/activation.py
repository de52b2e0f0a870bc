"""ReLU and its gradient: one gate on flat memory."""

from __future__ import annotations

import numba

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.vector import (
    greater_or_nan,
    lanes,
    load,
    load_first,
    select,
    store,
    store_first,
    zeros,
)

BLOCK_ELEMENTS = 16384


def relu(x: FloatArray, *, out: FloatArray) -> None:
    """Let x through where it is positive or NaN."""
    values = flat_input(x)
    with FlatOutput(out) as y:
        _gate(values, values, y)


def relu_backward(grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
    """Let the gradient through where y is positive or NaN."""
    with FlatOutput(out) as grad_x:
        _gate(flat_input(grad_y), flat_input(y), grad_x)


@parallel
def _gate(values, gates, out):
    size = len(out)
    blocks = -(-size // BLOCK_ELEMENTS)
    team = keep_to(blocks)
    for block in numba.prange(blocks):
        first = block * BLOCK_ELEMENTS
        _gate_block(values, gates, out, first, min(first + BLOCK_ELEMENTS, size))
    restore(team)


@serial
def _gate_block(values, gates, out, first, last):
    nothing = zeros(values)
    step = 4 * lanes(values)
    whole = last - (last - first) % step
    for i in range(first, whole, step):
        for part in range(4):  # taken apart by the compiler
            at = i + part * lanes(values)
            is_open = greater_or_nan(load(gates, at), nothing)
            store(out, at, select(is_open, load(values, at), nothing))
    for i in range(whole, last, lanes(values)):
        valid = min(lanes(values), last - i)
        is_open = greater_or_nan(load_first(gates, i, valid), nothing)
        store_first(out, i, select(is_open, load_first(values, i, valid), nothing), valid)

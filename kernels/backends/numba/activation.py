"""ReLU and its gradient: one gate on flat memory."""

from __future__ import annotations

from kernels.backends.contract import FloatArray
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    at_address,
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

VALUES, GATES, OUT, SIZE = range(4)


def relu(x: FloatArray, *, out: FloatArray) -> None:
    """Let x through where it is positive or NaN."""
    values = flat_input(x)
    with FlatOutput(out) as y:
        _gate(values, values, y)


def relu_backward(grad_y: FloatArray, y: FloatArray, *, out: FloatArray) -> None:
    """Let the gradient through where y is positive or NaN."""
    with FlatOutput(out) as grad_x:
        _gate(flat_input(grad_y), flat_input(y), grad_x)


def _gate(values: FloatArray, gates: FloatArray, out: FloatArray) -> None:
    blocks = -(-out.size // BLOCK_ELEMENTS)
    run([Phase(GATE, blocks, blocks)], (values, gates, out, out.size), out)


def _gate_block(work, call, block):
    values, gates = at_address(work, call[VALUES]), at_address(work, call[GATES])
    out, nothing = at_address(work, call[OUT]), zeros(work)
    first = block * BLOCK_ELEMENTS
    last = min(first + BLOCK_ELEMENTS, call[SIZE])
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


GATE = Task(_gate_block)

"""How a thread waits for others, which are at something short, without going to sleep."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.cpu import codegen_target
from kernels.backends.numba.jit import serial
from kernels.backends.numba.vector_emitting import emit_pointer

PATIENCE = 1000
"""Looks, 10 to 40 µs, until it lets other threads have the core: one may wait for just this."""

_can_pause = codegen_target()[0].startswith(("x86_64", "i686"))

if TYPE_CHECKING or numba.config.DISABLE_JIT:

    def read_at_once(counters: Any, place: int) -> int:
        """Return ``counters[place]``, and see all that was written before it was counted."""
        return int(counters[place])

    def pause() -> None:
        """Leave what two threads of a core share to the other one for a moment."""

    def yield_core() -> None:
        """Let another thread run that waits for the core; on Windows, only pause."""

else:

    @intrinsic
    def read_at_once(typing, counters, place):
        """Return ``counters[place]``, and see all that was written before it was counted."""

        def generate(context, builder, signature, arguments):
            counter = emit_pointer(context, builder, counters, *arguments)
            return builder.load_atomic(counter, "acquire", 8)

        return types.int64(counters, types.intp), generate

    @intrinsic
    def pause(typing):
        """Leave what two threads of a core share to the other one for a moment."""

        def generate(context, builder, signature, arguments):
            if _can_pause:
                kind = ir.FunctionType(ir.VoidType(), [])
                builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
            return context.get_dummy_value()

        return types.void(), generate

    if hasattr(os, "sched_yield"):
        yield_core = types.ExternalFunction("sched_yield", types.intc())
    else:
        yield_core = pause


@serial
def wait_for(counters, place, number):
    """Wait until others have counted so far."""
    looks = 0
    while read_at_once(counters, place) < number:
        if looks < PATIENCE:
            looks += 1
            pause()
        else:
            yield_core()

"""SIMD vectors for loop nests written in Python.

A vector fills one register of the machine that Numba compiles for: 16 float32 with AVX-512, 8 with
AVX2, 4 elsewhere. A bundle is a vector of four registers, which the compiler takes apart: four
independent chains of operations for the price of one in the source. Indices count elements of flat
arrays, without bounds check or wrap-around. Under ``NUMBA_DISABLE_JIT=1`` plain functions on short
arrays stand in.
"""

from typing import TYPE_CHECKING

import numba

if TYPE_CHECKING or numba.config.DISABLE_JIT:
    from kernels.backends.numba.vector_plain import (
        add,
        add_integers,
        at_least,
        broadcast,
        bundle_lanes,
        either,
        equal,
        everywhere,
        greater_or_nan,
        lanes,
        load,
        load_bundle,
        load_first,
        load_first_integers,
        load_integers,
        load_like,
        multiply,
        multiply_add,
        repeat,
        replaced,
        select,
        splat,
        store,
        store_first,
        store_first_integers,
        store_integers,
        subtract,
        turn_square,
        zeros,
        zeros_bundle,
    )
else:
    from kernels.backends.numba.vector_intrinsics import (
        add,
        add_integers,
        at_least,
        broadcast,
        bundle_lanes,
        either,
        equal,
        everywhere,
        greater_or_nan,
        lanes,
        load,
        load_bundle,
        load_first,
        load_first_integers,
        load_integers,
        load_like,
        multiply,
        multiply_add,
        repeat,
        replaced,
        select,
        splat,
        store,
        store_first,
        store_first_integers,
        store_integers,
        subtract,
        turn_square,
        zeros,
        zeros_bundle,
    )

__all__ = [
    "add",
    "add_integers",
    "at_least",
    "broadcast",
    "bundle_lanes",
    "either",
    "equal",
    "everywhere",
    "greater_or_nan",
    "lanes",
    "load",
    "load_bundle",
    "load_first",
    "load_first_integers",
    "load_integers",
    "load_like",
    "multiply",
    "multiply_add",
    "repeat",
    "replaced",
    "select",
    "splat",
    "store",
    "store_first",
    "store_first_integers",
    "store_integers",
    "subtract",
    "turn_square",
    "zeros",
    "zeros_bundle",
]

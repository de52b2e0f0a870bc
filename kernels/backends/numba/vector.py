"""SIMD vectors for loop nests written in Python.

A vector fills one register of the machine that Numba compiles for: 16 float32 with AVX-512, 8 with
AVX2, 4 elsewhere. Indices count elements of flat arrays, without bounds check or wrap-around.
Under ``NUMBA_DISABLE_JIT=1`` plain functions on short arrays stand in.
"""

from typing import TYPE_CHECKING

import numba

if TYPE_CHECKING or numba.config.DISABLE_JIT:
    from kernels.backends.numba.vector_plain import (
        add,
        broadcast,
        greater_or_nan,
        lanes,
        load,
        load_first,
        multiply,
        multiply_add,
        repeat,
        replaced,
        select,
        splat,
        store,
        store_first,
        subtract,
        zeros,
    )
    from kernels.backends.numba.vector_rows_plain import (
        exponential,
        largest_lane,
        load_or_lowest,
        sum_lanes,
    )
    from kernels.backends.numba.vector_tiles_plain import (
        add_products,
        add_sums,
        broadcast_rows,
        load_columns,
        load_rows,
        load_rows_first,
        prefetch,
    )
else:
    from kernels.backends.numba.vector_intrinsics import (
        add,
        broadcast,
        greater_or_nan,
        lanes,
        load,
        load_first,
        multiply,
        multiply_add,
        repeat,
        replaced,
        select,
        splat,
        store,
        store_first,
        subtract,
        zeros,
    )
    from kernels.backends.numba.vector_rows import (
        exponential,
        largest_lane,
        load_or_lowest,
        sum_lanes,
    )
    from kernels.backends.numba.vector_tiles import (
        add_products,
        add_sums,
        broadcast_rows,
        load_columns,
        load_rows,
        load_rows_first,
        prefetch,
    )

__all__ = [
    "add",
    "add_products",
    "add_sums",
    "broadcast",
    "broadcast_rows",
    "exponential",
    "greater_or_nan",
    "lanes",
    "largest_lane",
    "load",
    "load_columns",
    "load_first",
    "load_or_lowest",
    "load_rows",
    "load_rows_first",
    "multiply",
    "multiply_add",
    "prefetch",
    "repeat",
    "replaced",
    "select",
    "splat",
    "store",
    "store_first",
    "subtract",
    "sum_lanes",
    "zeros",
]

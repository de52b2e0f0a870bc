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
    from kernels.backends.numba.vector_dealing_plain import dealt, gathered
    from kernels.backends.numba.vector_pairs_plain import (
        add_pairs,
        interleaved,
        row_pair_update,
        taken_apart,
        term_pair_update,
    )
    from kernels.backends.numba.vector_plain import (
        add,
        add_integers,
        at_least,
        broadcast,
        bundle_lanes,
        constant,
        divide,
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
        square_root,
        store,
        store_first,
        store_first_integers,
        store_integers,
        subtract,
        turn_square,
        zeros,
        zeros_bundle,
    )
    from kernels.backends.numba.vector_pointers_plain import (
        address,
        at_address,
        pointer,
        tap_matches,
    )
    from kernels.backends.numba.vector_products_plain import (
        add_rows,
        add_rows_first,
        folded,
        lanewise_update,
        prefetch_rows,
        rank_k_update,
        repeat_row,
        store_rows,
        store_rows_first,
        with_zeros,
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
        load_rows,
        load_rows_first,
        prefetch,
        store_each,
    )
else:
    from kernels.backends.numba.vector_arithmetic import (
        add,
        at_least,
        constant,
        divide,
        either,
        everywhere,
        greater_or_nan,
        multiply,
        multiply_add,
        select,
        splat,
        square_root,
        subtract,
        zeros,
        zeros_bundle,
    )
    from kernels.backends.numba.vector_dealing import dealt, gathered
    from kernels.backends.numba.vector_integers import (
        add_integers,
        equal,
        load_first_integers,
        load_integers,
        store_first_integers,
        store_integers,
    )
    from kernels.backends.numba.vector_memory import (
        broadcast,
        bundle_lanes,
        lanes,
        load,
        load_bundle,
        load_first,
        load_like,
        store,
        store_first,
    )
    from kernels.backends.numba.vector_pairs import (
        add_pairs,
        interleaved,
        row_pair_update,
        taken_apart,
        term_pair_update,
    )
    from kernels.backends.numba.vector_pointers import (
        address,
        at_address,
        pointer,
        tap_matches,
    )
    from kernels.backends.numba.vector_products import (
        add_rows,
        add_rows_first,
        folded,
        lanewise_update,
        prefetch_rows,
        rank_k_update,
        repeat_row,
        store_rows,
        store_rows_first,
        with_zeros,
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
        load_rows,
        load_rows_first,
        prefetch,
        store_each,
    )
    from kernels.backends.numba.vector_tuples import repeat, replaced
    from kernels.backends.numba.vector_turning import turn_square

__all__ = [
    "add",
    "add_integers",
    "add_pairs",
    "add_products",
    "add_rows",
    "add_rows_first",
    "add_sums",
    "address",
    "at_address",
    "at_least",
    "broadcast",
    "bundle_lanes",
    "constant",
    "dealt",
    "divide",
    "either",
    "equal",
    "everywhere",
    "exponential",
    "folded",
    "gathered",
    "greater_or_nan",
    "interleaved",
    "lanes",
    "lanewise_update",
    "largest_lane",
    "load",
    "load_bundle",
    "load_first",
    "load_first_integers",
    "load_integers",
    "load_like",
    "load_or_lowest",
    "load_rows",
    "load_rows_first",
    "multiply",
    "multiply_add",
    "pointer",
    "prefetch",
    "prefetch_rows",
    "rank_k_update",
    "repeat",
    "repeat_row",
    "replaced",
    "row_pair_update",
    "select",
    "splat",
    "square_root",
    "store",
    "store_each",
    "store_first",
    "store_first_integers",
    "store_integers",
    "store_rows",
    "store_rows_first",
    "subtract",
    "sum_lanes",
    "taken_apart",
    "tap_matches",
    "term_pair_update",
    "turn_square",
    "with_zeros",
    "zeros",
    "zeros_bundle",
]

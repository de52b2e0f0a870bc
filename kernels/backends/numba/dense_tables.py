"""What the tasks of a linear layer read: entries of their table, and tables of rows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from kernels.backends.numba.tasks import fixed, team_for

TASKS = 16
"""Blocks that work is cut into, so that a batch of one image uses all cores, too."""

READING_WORK = 12
"""Multiply-adds in the time that one weight takes to come from memory."""

BLOCK_ROWS = 128
"""Rows of a product for which there is a table of where they lie."""

N_, I_, O_, COLUMNS, X, WEIGHT = range(6)
"""Entries that all passes have."""


@functools.lru_cache(maxsize=512)
def product_table(a_row: int, c_row: int, lengths: tuple[int, ...]) -> Any:
    """Return where BLOCK_ROWS rows lie in A and in C, and behind that segments of these lengths."""
    rows = [(i * a_row, i * c_row) for i in range(BLOCK_ROWS)]
    segments = [(0, length) for length in lengths]
    (table,) = fixed(np.array(rows + segments, np.int64))
    return table


def team(N: int, I: int, O: int) -> int:
    """Return how many threads are worth their while, at most."""
    return team_for((N + READING_WORK) * I * O)


def part_of(size: int, parts: int, unit: int) -> int:
    """Return a ``parts``-th of ``size``, rounded up to units."""
    return -(-size // (parts * unit)) * unit

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

N_, I_, O_, COLUMNS, X, WEIGHT = range(6)
"""Entries that all passes have."""


@functools.lru_cache(maxsize=512)
def product_table(rows: int, a_row: int, c_row: int, lengths: tuple[int, ...]) -> Any:
    """Return where so many rows lie in A and in C, and behind that segments of these lengths."""
    places = [(i * a_row, i * c_row) for i in range(rows)]
    segments = [(0, length) for length in lengths]
    (table,) = fixed(np.array(places + segments, np.int64))
    return table


def last_block(terms: int, most: int) -> int:
    """Return how many of some terms the last block has, where a block has ``most``."""
    return (terms - 1) % most + 1 if terms else 0


def team(N: int, I: int, O: int) -> int:
    """Return how many threads are worth their while, at most."""
    return team_for((N + READING_WORK) * I * O)


def part_of(size: int, parts: int, unit: int) -> int:
    """Return a ``parts``-th of ``size``, rounded up to units."""
    return -(-size // (parts * unit)) * unit

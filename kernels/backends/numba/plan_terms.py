"""The terms of a gather's sums: from which places of the scratch buffer, in blocks of which length.

A phase's terms are its window's taps times the channels. Those that lie side by side in memory make
a run; runs make blocks, which are summed up in registers.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from kernels.backends.numba.axes import Gather, Phase
from kernels.backends.numba.plan_tables import BLOCK, PHASE, Table, records

MOST_TERMS = 512
"""Terms of the sums that are added up in registers before they go to memory: rounding errors grow
with a block's length and the number of blocks, not with their product."""


def tables(shape: Any, rows: Gather, columns: Gather, kernel: int) -> tuple[Table, ...]:
    """Make the tables of phases, blocks of terms, segments, and taps; count them in the shape."""
    channels, joined = int(shape["in_group"]), shape["groups"] == 1
    phases: list[tuple[int, ...]] = []
    blocks: list[tuple[int, int, int]] = []
    segments: list[tuple[int, int]] = []
    taps: list[int] = []
    for row_phase, column_phase in itertools.product(rows.phases, columns.phases):
        pairs = itertools.product(row_phase.taps, column_phase.taps)
        terms, first_block = len(taps) * channels, len(blocks)
        taps.extend(p * kernel + q for (p, _), (q, _) in pairs)
        offsets = tap_offsets(shape, (rows, row_phase), (columns, column_phase))
        for before, runs in _blocks(runs_of(offsets, channels, joined)):
            blocks.append((len(segments), len(segments) + len(runs), terms + before))
            segments.extend(runs)
        pixels = _pixels(shape, (rows, row_phase), (columns, column_phase))
        phases.append((*pixels, first_block, len(blocks)))
    shape["phases"], shape["terms"] = len(phases), len(taps) * channels
    return (
        records(np.array(phases, PHASE)),
        records(np.array(blocks, BLOCK)),
        np.array(segments, np.int64).reshape(-1),
        np.array(taps, np.int64),
    )


def tap_offsets(
    shape: Any, row_phase: tuple[Gather, Phase], column_phase: tuple[Gather, Phase]
) -> list[int]:
    """Return where in the scratch buffer a phase's taps lie, from its first pixel's place."""
    (rows, down), (columns, across) = row_phase, column_phase
    width, channels = int(shape["scratch_columns"]), int(shape["source_channels"])
    return [
        ((p - rows.low) * width + q - columns.low) * channels
        for (_, p), (_, q) in itertools.product(down.taps, across.taps)
    ]


def _pixels(
    shape: Any, row_phase: tuple[Gather, Phase], column_phase: tuple[Gather, Phase]
) -> tuple[int, ...]:
    """Return what a phase's record says of its target pixels: the first, how many, how far."""
    (rows, down), (columns, across) = row_phase, column_phase
    sources, targets = shape["source_channels"], shape["target_channels"]
    last_rows = rows.target_size - (shape["bands"] - 1) * shape["band_rows"]
    return (
        (down.first * columns.target_size + across.first) * targets,
        rows.count(down, shape["band_rows"]),
        rows.count(down, last_rows),
        columns.count(across, columns.target_size),
        columns.source_step * sources,
        rows.source_step * shape["scratch_columns"] * sources,
        columns.target_step * targets,
        rows.target_step * columns.target_size * targets,
    )


def runs_of(offsets: list[int], channels: int, joined: bool) -> list[tuple[int, int]]:
    """Return the taps' terms as runs (offset, length) of at most MOST_TERMS."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if joined and runs and sum(runs[-1]) == offset and runs[-1][1] + channels <= MOST_TERMS:
            runs[-1] = (runs[-1][0], runs[-1][1] + channels)
            continue
        for start in range(0, channels, MOST_TERMS):
            runs.append((offset + start, min(MOST_TERMS, channels - start)))
    return runs


def _blocks(runs: list[tuple[int, int]]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Group runs into blocks of at most MOST_TERMS terms, with the number of terms before."""
    blocks: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    before = 0
    for run in runs:
        if blocks[-1][1] and before - blocks[-1][0] + run[1] > MOST_TERMS:
            blocks.append((before, []))
        blocks[-1][1].append(run)
        before += run[1]
    return blocks


def lengths_up_to(longest: int) -> Table:
    """Return segments of the lengths 0, 1, 2, ... at the beginning of a row."""
    segments = np.zeros((longest + 1, 2), np.int64)
    segments[:, 1] = np.arange(longest + 1)
    return segments.reshape(-1)

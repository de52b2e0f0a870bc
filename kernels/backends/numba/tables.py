"""Tables: what the one parallel loop is given to run, now, again, or on other arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from kernels.backends.numba import threads
from kernels.backends.numba.addresses import address_of, aligned
from kernels.backends.numba.jit import keep_to, prange_driver, restore, serial
from kernels.backends.numba.sharing import LINE, next_task
from kernels.backends.numba.vector import address
from kernels.capturing import Capture
from kernels.layout import memory_order

LENGTH, PHASES, WORK, WORK_BYTES, HEADER = range(5)
"""What a table begins with: its length, how many phases, working memory and its bytes a thread."""

TASK, TIMES, TEAM, FIRST, LEADS, GROUPS, PHASE = range(7)
"""What there is for each phase: see ``tasks.Phase``; the task by its address."""


class Tables:
    """Tables that follow one another.

    Parameters
    ----------
    numbers : array of int64
        One table behind the other.
    arrays : dict of int to object
        What the numbers at these places are the addresses of; they stay in memory so long.
    """

    def __init__(self, numbers: NDArray[np.int64], arrays: dict[int, Any]) -> None:
        self.numbers, self.arrays = numbers, arrays

    def __call__(self) -> None:
        """Run them."""
        execute(self.numbers)

    def join(self, capture: Capture) -> None:
        """Let a capture run these tables too, together with those before them."""
        before = capture.steps[-1] if capture.steps else None
        if isinstance(before, Tables):
            numbers, first = np.concatenate((before.numbers, self.numbers)), len(before.numbers)
            moved = {first + place: array for place, array in self.arrays.items()}
            capture.steps[-1] = Tables(numbers, before.arrays | moved)
        else:
            capture.steps.append(self)

    def on_others(
        self, given: Sequence[NDArray[Any]], written: Sequence[NDArray[Any]]
    ) -> OnOthers | None:
        """Return what runs them on other arrays, and returns what it wrote.

        They have the layouts of those given, and what is returned those of the written ones, all
        of them without gaps. None if one of these is not written after all.
        """
        arrays = [*given, *written]
        orders = [None if a.flags.c_contiguous else memory_order(a) for a in given]
        starts = [*_starts(given, orders), *(int(array.ctypes.data) for array in written)]
        changes = [
            (place, number, at - start)
            for place, at in ((place, int(self.numbers[place])) for place in self.arrays)
            for number, (start, array) in enumerate(zip(starts, arrays, strict=True))
            if start <= at < start + array.nbytes
        ]
        if not {number for _, number, _ in changes}.issuperset(range(len(given), len(arrays))):
            return None
        layouts = [(array.shape, array.dtype, array.nbytes, array.strides) for array in written]
        replaced = {place for place, _, _ in changes}
        kept = [array for place, array in self.arrays.items() if place not in replaced]
        return OnOthers(self.numbers, changes, orders, layouts, kept)


@dataclass(frozen=True, slots=True)
class OnOthers:
    """Tables to be run on other arrays each time.

    Attributes
    ----------
    numbers : array of int64
        The tables.
    changes : list of (int, int, int)
        Which numbers are addresses in those arrays: where they are, in which array, how far in.
    orders : list of tuple of int, or None
        The axes of the arrays that are given, in the order of memory, if that is another one.
    layouts : list of tuple
        Shape, dtype, bytes and strides of the arrays that are written.
    kept : list
        The other arrays that there are addresses of; they stay in memory so long.
    """

    numbers: NDArray[np.int64]
    changes: list[tuple[int, int, int]]
    orders: list[tuple[int, ...] | None]
    layouts: list[tuple[tuple[int, ...], np.dtype[Any], int, tuple[int, ...]]]
    kept: list[Any]

    def __call__(self, given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run them, and return what they wrote."""
        places, results = _starts(given, self.orders), []
        for layout in self.layouts:
            result, place = aligned(*layout)
            results.append(result)
            places.append(place)
        numbers = self.numbers.copy()
        for place, number, offset in self.changes:
            numbers[place] = places[number] + offset
        execute(numbers)
        return results


def _starts(arrays: Sequence[NDArray[Any]], orders: Sequence[tuple[int, ...] | None]) -> list[int]:
    """Return where arrays begin; turned into the order of memory, an address is found sooner."""
    return [
        address_of(array if order is None else array.transpose(order))
        for array, order in zip(arrays, orders, strict=True)
    ]


def execute(numbers: NDArray[np.int64]) -> None:
    """Run tables."""
    threads.run(_run_tables, (numbers, threads.forked()))


if TYPE_CHECKING or numba.config.DISABLE_JIT:

    def _call_task(code: int, work: int, entries: int, index: int) -> None:
        """Call a task by its address."""

else:

    @intrinsic
    def _call_task(typing, code, work, entries, index):
        """Call a task by its address."""

        def generate(context, builder, signature, arguments):
            word = ir.IntType(64)
            kind = ir.FunctionType(ir.VoidType(), [word, word, word])
            builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, types.intp), generate


@serial
def _together(tables, phase):
    """Return where the phases end that run together, in how many shares, on how many threads."""
    times, groups, team, leads = 0, 0, 1, True
    while leads:
        times, team = max(times, tables[phase + TIMES]), max(team, tables[phase + TEAM])
        groups = max(groups, tables[phase + GROUPS])
        leads = tables[phase + LEADS] > 0
        phase += PHASE
    return phase, groups if groups > 0 else times, team


@serial
def _run_share(tables, phase, end, work, entries, share, shares):
    """Run a share of the tasks of each of some phases, a few of each in turn."""
    turns = 1
    for place in range(phase, end, PHASE):
        turns = max(turns, -(-tables[place + TIMES] // shares))
    for turn in range(share * turns, (share + 1) * turns):
        for place in range(phase, end, PHASE):
            task, times = tables[place + TASK], tables[place + TIMES]
            own = entries + 8 * tables[place + FIRST]
            for index in range(
                turn * times // (shares * turns), (turn + 1) * times // (shares * turns)
            ):
                _call_task(task, work, own, index)


@prange_driver
def _run_tables(tables: NDArray[np.int64], single: bool) -> None:
    """Run the phases of tables that follow one another; ``single`` on this thread alone."""
    at = 0
    while at < len(tables):
        work, size = tables[at + WORK], tables[at + WORK_BYTES]
        phase = at + HEADER
        last = phase + PHASE * tables[at + PHASES]
        entries = address(tables) + 8 * last
        while phase < last:
            end, shares, team = _together(tables, phase)
            if single or team == 1 or shares == 1:
                for share in range(shares):
                    _run_share(tables, phase, end, work, entries, share, shares)
            else:
                before = keep_to(min(team, shares))
                members = min(before, team, shares)
                counters = np.zeros(LINE * members, np.int64)
                for member in numba.prange(members):
                    own = work + numba.get_thread_id() * size
                    share = next_task(counters, member, members, shares)
                    while share < shares:
                        _run_share(tables, phase, end, own, entries, share, shares)
                        share = next_task(counters, member, members, shares)
                restore(before)
            phase = end
        at += tables[at + LENGTH]

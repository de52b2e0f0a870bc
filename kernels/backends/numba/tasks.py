"""Tasks, and the tables that the driver is given to run them.

An operation is a table of addresses and numbers, and a few phases; a phase is a task and how often
it is run. A task is compiled on its own and called by its address with the table. So a new
operation costs no parallel loop of its own, 1 s of compilation each with a dozen arrays; a call
costs one entry into compiled code however many phases it has; and tables of several operations
that follow one another are one table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.addresses import address_of
from kernels.backends.numba.driver import LENGTH, WORK
from kernels.backends.numba.standalone import Standalone
from kernels.backends.numba.tables import Tables, execute
from kernels.capturing import active, also

THREAD_WORK = 400_000
"""Multiply-adds, 2 to 4 µs of one core, that are worth a thread: to wake one takes 1 µs or more."""


class Task:
    """A function that is one of many alike, which may run at the same time.

    Parameters
    ----------
    function : callable
        Is called with a pointer to the thread's working memory, of the operation's dtype; one to
        the operation's entries, integers; and the number of the task.
    needs : callable, optional
        Is called with a dtype first; see ``Standalone``.
    name : str, optional
        Where several functions have the same one.
    alone : bool
        See ``Standalone``.
    """

    def __init__(
        self,
        function: Callable[[Any, Any, int], None],
        needs: Callable[[np.dtype[Any]], int] | None = None,
        name: str = "",
        *,
        alone: bool = False,
    ) -> None:
        self.function = function
        self.address: Callable[[np.dtype[Any]], int] = Standalone(
            function, pointers=1, integers=1, needs=needs, name=name, alone=alone
        ).prepare


class Phase(NamedTuple):
    """A task to be run ``times`` times, on no more than ``team`` threads.

    Its entries begin with the ``first`` of the table. If its tasks are in ``groups``, as equal in
    size as can be, a thread does those of a group in their order. One that ``leads`` runs together
    with the next: in turn a few tasks of each, where the second finds in the cache what the first
    has read. Neither needs what the other writes, and only one has groups. ``backwards`` a
    thread does its part from the last task on, whose data it was the last to read in the phase
    before; that is for phases that neither lead, nor are led, nor have groups.
    """

    task: Task
    times: int
    team: int
    first: int = 0
    leads: bool = False
    groups: int = 0
    backwards: bool = False


def team_for(multiply_adds: float) -> int:
    """Return how many threads some work is worth, at most."""
    return 1 + int(multiply_adds / THREAD_WORK)


def run(phases: Sequence[Phase], entries: Sequence[Any], work: FloatArray, size: int = 0) -> None:
    """Run phases one after the other.

    Parameters
    ----------
    phases : sequence of Phase
        What to run.
    entries : sequence of int, array or None
        What tasks find in their table; of an array, its address; 0 for None.
    work : array
        Working memory, of the operation's dtype.
    size : int
        How much of it each thread is given.
    """
    if numba.config.DISABLE_JIT:
        also(_run_plainly, phases, entries, work)
        return
    numbers = [0, len(phases), address_of(work), size * work.itemsize]
    for task, *extent in phases:
        numbers += (task.address(work.dtype), *extent)
    numbers += [
        entry if type(entry) in _PLAIN else 0 if entry is None else address_of(entry)
        for entry in entries
    ]
    numbers[LENGTH] = len(numbers)
    capture = active()
    if capture is None:
        execute(np.array(numbers, np.int64))
    else:
        first = len(numbers) - len(entries)
        arrays = {WORK: work} | {first + i: entry for i, entry in enumerate(entries)}
        tables = Tables(np.array(numbers, np.int64), arrays)
        tables()
        tables.join(capture)


class _Fixed(int):
    """An address, and the array that is there."""

    array: NDArray[Any]


def fixed(*arrays: NDArray[Any]) -> tuple[Any, ...]:
    """Return arrays as entries that cost nothing more."""
    return arrays if numba.config.DISABLE_JIT else tuple(map(_fixed, arrays))


def _fixed(array: NDArray[Any]) -> _Fixed:
    place = _Fixed(address_of(array))
    place.array = array
    return place


_PLAIN = frozenset((int, bool, _Fixed))


def _run_plainly(phases: Sequence[Phase], entries: Sequence[Any], work: FloatArray) -> None:
    """Run the tasks as Python functions; lanes that nobody reads may hold anything."""
    table = np.empty(len(entries), object)
    table[:] = entries
    with np.errstate(over="ignore", invalid="ignore"):
        for task, times, _, first, *_ in phases:
            for index in range(times):
                task.function(work, table[first:], index)

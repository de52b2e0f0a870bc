"""Tasks, and the one parallel loop that runs them.

An operation is a table of addresses and numbers, and a few phases; a phase is a task and how often
it is run. A task is compiled on its own and called by its address with the table. So a new
operation costs no parallel loop of its own, 1 s of compilation each with a dozen arrays; a call
costs one entry into compiled code however many phases it has; and tables of several operations
that follow one another are one table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.jit import keep_to, prange_driver, restore
from kernels.backends.numba.standalone import Standalone
from kernels.backends.numba.vector import address
from kernels.capturing import Capture, active, also

THREAD_WORK = 250_000
"""Multiply-adds, 2 to 4 µs of one core, that are worth a thread: to wake one takes 1 µs or more."""

LENGTH, PHASES, WORK, WORK_BYTES, HEADER = range(5)
"""What a table begins with: its length, how many phases, working memory and its bytes a thread."""

TASK, TIMES, TEAM, PHASE = range(4)
"""What there is for each phase: address, how often, and on how many threads at most."""


class Task:
    """A function that is one of many alike, which may run at the same time.

    Parameters
    ----------
    function : callable
        Is called with a pointer to the thread's working memory, of the operation's dtype; one to
        the operation's entries, integers; and the number of the task.
    needs : callable, optional
        Is called with a dtype first; see ``Standalone``.
    """

    def __init__(
        self,
        function: Callable[[Any, Any, int], None],
        needs: Callable[[np.dtype[Any]], int] | None = None,
    ) -> None:
        self.function = function
        self.address = Standalone(function, pointers=1, integers=1, needs=needs).prepare


class Phase(NamedTuple):
    """A task to be run ``times`` times, on no more than ``team`` threads."""

    task: Task
    times: int
    team: int


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
    numbers = [0, len(phases), _address(work), size * work.itemsize]
    for task, times, team in phases:
        numbers += (task.address(work.dtype), times, team)
    numbers += [
        entry if type(entry) in _PLAIN else 0 if entry is None else _address(entry)
        for entry in entries
    ]
    numbers[LENGTH] = len(numbers)
    tables = Tables(np.array(numbers, np.int64), [entries, work])
    capture = active()
    if capture is not None:
        tables.join(capture)
    tables()


class Tables:
    """Tables that follow one another, and what has to stay in memory for them."""

    def __init__(self, numbers: NDArray[np.int64], kept: list[object]) -> None:
        self.numbers, self.kept = numbers, kept

    def __call__(self) -> None:
        """Run them."""
        threads.run(_run_tables, (self.numbers, threads.forked()))

    def join(self, capture: Capture) -> None:
        """Let a capture run these tables too, together with those before them."""
        before = capture.steps[-1] if capture.steps else None
        if isinstance(before, Tables):
            numbers = np.concatenate((before.numbers, self.numbers))
            capture.steps[-1] = Tables(numbers, before.kept + self.kept)
        else:
            capture.steps.append(self)


class _Fixed(int):
    """An address, and the array that is there."""

    array: NDArray[Any]


def fixed(*arrays: NDArray[Any]) -> tuple[Any, ...]:
    """Return arrays as entries that cost nothing more."""
    return arrays if numba.config.DISABLE_JIT else tuple(map(_fixed, arrays))


def _fixed(array: NDArray[Any]) -> _Fixed:
    place = _Fixed(_address(array))
    place.array = array
    return place


_PLAIN = frozenset((int, bool, _Fixed))


def _address(array: NDArray[Any]) -> int:
    if array.size == 0:
        return 0
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    except (TypeError, ValueError, BufferError):  # read-only: takes 1 µs longer
        return int(array.ctypes.data)


def _run_plainly(phases: Sequence[Phase], entries: Sequence[Any], work: FloatArray) -> None:
    """Run the tasks as Python functions."""
    table = np.empty(len(entries), object)
    table[:] = entries
    for task, times, _ in phases:
        for index in range(times):
            task.function(work, table, index)


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


@prange_driver
def _run_tables(tables: NDArray[np.int64], single: bool) -> None:
    """Run the phases of tables that follow one another; ``single`` on this thread alone."""
    at = 0
    while at < len(tables):
        work, size = tables[at + WORK], tables[at + WORK_BYTES]
        first = at + HEADER
        last = first + PHASE * tables[at + PHASES]
        entries = address(tables) + 8 * last
        for phase in range(first, last, PHASE):
            task, times, team = tables[phase], tables[phase + TIMES], tables[phase + TEAM]
            if single or team == 1 or times == 1:
                for index in range(times):
                    _call_task(task, work, entries, index)
            else:
                before = keep_to(min(team, times))
                for index in numba.prange(times):
                    _call_task(task, work + numba.get_thread_id() * size, entries, index)
                restore(before)
        at += tables[at + LENGTH]

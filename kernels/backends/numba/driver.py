"""The driver: the one parallel loop, that runs the phases of tables on a team of threads.

The team is called once however many phases there are: who is done with one waits for those who are
not, and goes on. To call it for each phase took 1 µs each time: a prediction of ``mnist_cnn`` for
one image, three phases of which are worth two threads, 57.6 µs, now 55.9. Where there are more
threads than cores, it took far more: 5 threads on 2 cores, a training step at batch 32 11.9 ms,
now 3.3 to 5.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from kernels.backends.numba.addresses import DATA
from kernels.backends.numba.calls import integers_at
from kernels.backends.numba.jit import give_threads, given_threads, prange_driver, serial
from kernels.backends.numba.sharing import LINE, add_at_once, next_task
from kernels.backends.numba.vector import address
from kernels.backends.numba.waiting import wait_for

LENGTH, PHASES, WORK, WORK_BYTES, HEADER = range(5)
"""What a table begins with: its length, how many phases, working memory and its bytes a thread."""

TASK, TIMES, TEAM, FIRST, LEADS, GROUPS, BACKWARDS, PHASE = range(8)
"""What there is for each phase: see ``tasks.Phase``; the task by its address."""

OTHERS, CHANGE = 8, 3
"""The arrays that tables can be run on instead of theirs, and how many numbers say what changes."""

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
def _together(tables, phase, most):
    """Return where the phases end that run together, in how many shares, on how many threads."""
    times, groups, team, leads = 0, 0, 1, True
    while leads:
        times, team = max(times, tables[phase + TIMES]), max(team, tables[phase + TEAM])
        groups = max(groups, tables[phase + GROUPS])
        leads = tables[phase + LEADS] > 0
        phase += PHASE
    shares = groups if groups > 0 else times
    return phase, shares, max(1, min(team, shares, most))


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


@serial
def _size(tables, most):
    """Return how many threads tables are worth, and how many counters these need."""
    at, widest, needed = 0, 1, 0
    while at < len(tables):
        phase = at + HEADER
        last = phase + PHASE * tables[at + PHASES]
        while phase < last:
            phase, _, team = _together(tables, phase, most)
            widest = max(widest, team)
            needed += (team + 1) * LINE
        at += tables[at + LENGTH]
    return widest, needed


@serial
def _run_as(member, members, tables, counters):
    """Run what a member of the team finds to do.

    For phases worth several threads there are counters of the shares that have been taken, one for
    each thread, and one of those that are done. Phases that follow one another and are worth one
    thread are run by whichever comes first: working memory may be for one only. A member waits for
    what others have taken, or, where it is one too many for a phase, for member 0, of whichever
    team: every threading layer begins that one without waiting, and it takes all that is left.
    """
    at, taken, single, mine = 0, 0, -1, True
    while at < len(tables):
        work, size = tables[at + WORK], tables[at + WORK_BYTES]
        phase = at + HEADER
        last = phase + PHASE * tables[at + PHASES]
        entries = address(tables) + 8 * last
        while phase < last:
            end, shares, team = _together(tables, phase, members)
            done, backwards = taken + team * LINE, tables[phase + BACKWARDS] > 0
            if team == 1:
                if single < 0 and members > 1:
                    single, mine = done, add_at_once(counters, taken, 1) == 0
                for share in range(shares if mine else 0):
                    number = shares - 1 - share if backwards else share
                    _run_share(tables, phase, end, work, entries, number, shares)
            else:
                if single >= 0:
                    _pass(counters, single, mine)
                    single, mine = -1, True
                if member < team:
                    own, count = work + member * size, 0
                    share = next_task(counters, taken, member, team, shares, backwards)
                    while share < shares:
                        _run_share(tables, phase, end, own, entries, share, shares)
                        count += 1
                        share = next_task(counters, taken, member, team, shares, backwards)
                    add_at_once(counters, done, count)
                wait_for(counters, done, shares)
            phase, taken = end, done + LINE
        at += tables[at + LENGTH]


@serial
def _pass(counters, done, mine):
    """Say that phases of one thread are done, or wait for who says so."""
    if mine:
        add_at_once(counters, done, 1)
    wait_for(counters, done, 1)


@serial
def _on_others(numbers, end, objects):
    """Return tables with the addresses of other arrays in them."""
    tables = numbers[:end].copy()
    for change in range(end, len(numbers), CHANGE):
        array = integers_at(objects[numbers[change + 1]], DATA // 8)
        tables[numbers[change]] = array[0] + numbers[change + 2]
    return tables


@prange_driver
def run_tables(
    numbers: NDArray[np.int64], end: int, most: int,
    a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int,
) -> None:  # fmt: skip
    """Run the phases of tables that follow one another, on ``most`` threads.

    With 0 on as many as Numba is set to. (To set that for each call from Python took 2.7 µs.)
    Behind the ``end`` of the tables it may say which of their numbers are to be addresses in other
    arrays, whose objects are ``a`` to ``h``: where these numbers are, in which array, how far in.
    """
    tables = numbers
    if end < len(numbers):
        tables = _on_others(numbers, end, (a, b, c, d, e, f, g, h))
    given = 1 if most == 1 else given_threads()
    members, needed = (1, 0) if most == 1 else _size(tables, most if most > 0 else given)
    counters = np.zeros(needed, np.int64)
    if members == 1:
        _run_as(0, 1, tables, counters)
    else:
        give_threads(members)
        for member in numba.prange(members):
            _run_as(member, members, tables, counters)
        give_threads(given)


def prepare(_: np.dtype[Any]) -> None:
    """Compile it, or load what was compiled; it is the same for all dtypes."""
    dispatcher: Any = run_tables
    if not numba.config.DISABLE_JIT:
        dispatcher.compile((types.Array(types.int64, 1, "C"), *(types.int64,) * (2 + OTHERS)))

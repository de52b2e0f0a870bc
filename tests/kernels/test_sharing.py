"""How threads share tasks: each does its own part first, then what the others have left."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from kernels.backends.numba.sharing import LINE, next_task


@numba.njit
def _next(counters, begin, member, members, times, backwards):
    return next_task(counters, begin, member, members, times, backwards)


@pytest.mark.parametrize(
    ("members", "times", "backwards", "asking", "expected"),
    [
        (1, 3, False, (0, 0, 0, 0), (0, 1, 2, 3)),
        (2, 5, False, (1, 0, 1, 0, 1, 0, 1), (2, 0, 3, 1, 4, 5, 5)),
        (2, 5, False, (0, 0, 0, 0, 0, 0, 1), (0, 1, 2, 3, 4, 5, 5)),
        (3, 7, False, (2, 2, 2, 2, 2, 1, 0, 1), (4, 5, 6, 0, 1, 2, 3, 7)),
        (2, 2, False, (1, 0, 0, 1), (1, 0, 2, 2)),
        (1, 3, True, (0, 0, 0, 0), (2, 1, 0, 3)),
        (2, 5, True, (1, 0, 1, 0, 1, 0, 1), (4, 1, 3, 0, 2, 5, 5)),
        (3, 7, True, (2, 2, 2, 2, 2, 1, 0, 1), (6, 5, 4, 1, 0, 3, 2, 7)),
    ],
)
def test_each_takes_its_own_part_and_then_the_others(members, times, backwards, asking, expected):
    begin = 3 * LINE
    counters = np.zeros(begin + LINE * members, np.int64)
    counters[:begin] = 7  # what has been counted of another phase
    taken = [_next(counters, begin, member, members, times, backwards) for member in asking]
    assert tuple(taken) == expected


ORDERED = """
import sys
import numpy as np
from kernels.backends.numba.tasks import Phase, Task, run

TASKS, TEAM = 8, int(sys.argv[1])

def note(work, call, index):
    count = int(work[0]) + 1
    work[0] = count
    work[count] = index

for backwards in (False, True):
    own = np.zeros((2, 16), np.float32)
    run([Phase(Task(note), TASKS, TEAM, backwards=backwards)], (), own.reshape(-1), 16)
    for count, *noted in own.astype(int).tolist():
        for part in range(TEAM):
            done = [i for i in noted[:count] if i * TEAM // TASKS == part]
            assert done == sorted(done, reverse=backwards), (backwards, noted)
    assert own[:, 0].sum() == TASKS
print("done")
"""


@pytest.mark.compiled
@pytest.mark.parametrize("team", ["1", "2"])
def test_each_part_is_done_in_its_order_or_backwards(team, tmp_path):
    """Each thread notes what it does in its own working memory."""
    settings = {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", ORDERED, team],
        env=os.environ | settings | {"CNN_KERNELS_COMPILE_AHEAD": "0"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.stdout.split() == ["done"], run.stderr


WAITING = """
import numpy as np
from kernels.backends.numba.sharing import add_at_once
from kernels.backends.numba.calls import integers_at
from kernels.backends.numba.tasks import Phase, Task, run

TURNS = 1_000_000_000

def wait_or_tell(work, call, index):
    flags = integers_at(call[0], 0)
    if index == 0:
        turn = 0
        while turn < TURNS and add_at_once(flags, 0, 0) == 0:
            turn += 1
        add_at_once(flags, 1, turn < TURNS)
    if index == 1:
        add_at_once(flags, 0, 1)

flags = np.zeros(2, np.int64)
run([Phase(Task(wait_or_tell), 4, 2)], (flags,), np.zeros(1, np.float32))
print(*flags)
"""


DEPENDING = """
import numpy as np
from kernels.backends.numba.calls import integers_at
from kernels.backends.numba.tasks import Phase, Task, run

ROUNDS, TASKS, OWN, THREADS = 40, 12, 64, 5

def add_neighbours(work, call, index):
    before, after = integers_at(call[0], 0), integers_at(call[1], 0)
    for i in range(64):
        work[i] = index
    after[index] = before[index] + before[(index + 5) % 12] + 1
    for i in range(64):
        if work[i] != index:  # another thread writes into this one's memory
            after[index] = -1

task = Task(add_neighbours)
rng = np.random.default_rng(0)
for repetition in range(200):
    rows = np.zeros((ROUNDS + 1, TASKS), np.int64)
    entries = [entry for i in range(ROUNDS) for entry in (rows[i], rows[i + 1])]
    phases = [Phase(task, TASKS, int(rng.integers(1, 6)), 2 * i) for i in range(ROUNDS)]
    run(phases, entries, np.zeros(OWN * THREADS, np.float32), OWN)
    expected = np.zeros(TASKS, np.int64)
    for row in rows:
        assert (row == expected).all(), (repetition, row, expected)
        expected = expected + np.roll(expected, -5) + 1
print("done")
"""


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("threads", "setting"),
    [
        *(("1", {}), ("2", {}), ("5", {})),
        ("5", {"OMP_THREAD_LIMIT": "2"}),
        ("5", {"NUMBA_THREADING_LAYER": "workqueue"}),
    ],
)
def test_a_phase_begins_when_the_one_before_is_done_on_any_number_of_threads(threads, setting):
    numbers = {"NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    environment = os.environ | numbers | setting
    run = subprocess.run(
        [sys.executable, "-c", DEPENDING],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.stdout.split() == ["done"], run.stderr


@pytest.mark.compiled
def test_a_thread_that_is_held_up_leaves_its_tasks_to_another():
    """Task 0 waits for task 1, which is in the same thread's part."""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", WAITING],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.stdout.split() == ["1", "1"], run.stderr

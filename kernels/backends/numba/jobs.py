"""Loop nests of convolutions with what comes before and after them, alone or several together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.calls import ENTRIES
from kernels.backends.numba.tasks import Phase, run
from kernels.backends.numba.workspace import Borrowed


class Job(NamedTuple):
    """A loop nest, with what comes before and after it.

    Of the elements that it works in, threads share the ``shared``; ``table`` makes its entries,
    given these. Besides, each thread has ``own``.
    """

    before: list[Phase]
    nest: Phase
    after: list[Phase]
    shared: int
    own: int
    table: Callable[[FloatArray], list[Any]]


def run_jobs(jobs: Sequence[Job], dtype: np.dtype[Any]) -> None:
    """Run jobs, their loop nests together."""
    numbered = [(job, number * ENTRIES) for number, job in enumerate(jobs)]
    nests = [job.nest._replace(first=first, leads=True) for job, first in numbered]
    nests[-1] = nests[-1]._replace(leads=False)
    phases = [phase._replace(first=first) for job, first in numbered for phase in job.before]
    phases += nests
    phases += [phase._replace(first=first) for job, first in numbered for phase in job.after]
    own, members = max(job.own for job in jobs), _most(max(phase.team for phase in phases))
    tables: list[Any] = []
    with Borrowed(sum(job.shared for job in jobs) + own * members, dtype) as memory:
        for job in jobs:
            tables += job.table(memory[: job.shared])
            memory = memory[job.shared :]
        run(phases, tables, memory, own)


def _most(team: int) -> int:
    """Return how many threads' working memory a team needs."""
    return 1 if team == 1 else threads.most()

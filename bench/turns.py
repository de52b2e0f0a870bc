"""Taking turns: every contestant is a process of its own, and one at a time computes.

NumPy, Numba and PyTorch in one process would fight over threads, and on a shared machine times
drift within minutes. So all processes live side by side, each a pytest run of ``bench/suites`` that
waits for its turns, and the turns on one pass of one case follow within fractions of a second:
A B C, C B A, A B C ... What the machine does meanwhile, it does to all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from bench.contestants import Entrant

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
SUITES = Path(__file__).parent / "suites"
ROOT = Path(__file__).parents[1]

NAIVE_ROUNDS = 2
"""Turns of naive: its calls take up to half a second, and its ratios are in the hundreds."""

REST_SECONDS = 0.005
"""Pause after a turn: libgomp's idle threads spin for a few milliseconds before they sleep."""

OPENBLAS_TIMEOUT = 22
"""OpenBLAS's idle threads spin for 2 to the power of so many ticks; 22 are 1.6 ms. By default it
was 105 ms, in which numba took 4 to 8 ms for what took it 2 after PyTorch's turn. numpy itself is
no slower (conv2d 3.4 to 4.0 ms against 3.4 to 4.3, three runs in turn)."""

XDIST_WORKER = "PYTEST_XDIST_WORKER"

PREPARE, GO, READY, DONE, REFUSED = "prepare", "go", "ready", "done", "refused"

Item = tuple[str, str]
"""A case's id and a pass."""


def environment(threads: int, folder: Path) -> dict[str, str]:
    """Return the environment of a process that computes with so many threads.

    What torch.compile makes goes into the folder, so that its first call really compiles. That this
    process is one of pytest-xdist's is not for it to know: pytest-benchmark would time nothing.
    """
    inherited = {name: value for name, value in os.environ.items() if name != XDIST_WORKER}
    limits = {name: str(threads) for name in THREAD_VARIABLES}
    return (
        inherited
        | limits
        | {
            "OPENBLAS_THREAD_TIMEOUT": str(OPENBLAS_TIMEOUT),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        }
    )


def rounds_of(name: str, rounds: int) -> int:
    """Return how many turns a contestant gets on an item."""
    return min(rounds, NAIVE_ROUNDS) if name == "naive" else rounds


class TurnTaker:
    """A contestant's side: waits to be told, and tells when it has finished."""

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)

    def wait(self) -> None:
        """Wait for the next turn."""
        self._connection.recv()

    def say(self, what: str, detail: str = "") -> None:
        """Give the turn back."""
        self._connection.send((what, detail))

    @contextmanager
    def refusing_on_error(self) -> Iterator[None]:
        """Give the turn back if the block raises."""
        try:
            yield
        except Exception as error:
            self.say(REFUSED, f"{type(error).__name__}: {error}")
            raise


class NoTurns(TurnTaker):
    """For a contestant that runs alone: it is always its turn."""

    def __init__(self) -> None:
        pass

    def wait(self) -> None:
        """Go on."""

    def say(self, what: str, detail: str = "") -> None:
        """Go on."""


class Contestant:
    """The other side: a pytest process, started with its list of items."""

    def __init__(self, entrant: Entrant, items: Sequence[Item], rounds: int, folder: Path) -> None:
        self.entrant, self.items = entrant, items
        self._report = folder / f"{entrant}.json"
        self._log = folder / f"{entrant}.log"
        plan = folder / f"{entrant}.items.json"
        plan.write_text(json.dumps(items))
        self._connection, theirs = Pipe()
        command = [
            *(sys.executable, "-m", "pytest", str(SUITES), "-q", "-p", "no:cacheprovider"),
            *("--contestant", entrant.name, "--threads", str(entrant.threads)),
            *("--rounds", str(rounds), "--items", str(plan), "--turns", str(theirs.fileno())),
            *("--benchmark-json", str(self._report), "--benchmark-disable-gc"),
        ]
        with theirs, self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(entrant.threads, folder),
                pass_fds=[theirs.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def tell(self, what: str) -> tuple[str, str]:
        """Give it the turn and wait until it gives it back; say REFUSED for it if it died."""
        try:
            self._connection.send(what)
            answer: tuple[str, str] = self._connection.recv()
        except (EOFError, OSError):
            return REFUSED, f"its process ended: {self._last_words()}"
        time.sleep(REST_SECONDS)
        return answer

    def _last_words(self) -> str:
        """Return the last line that it printed."""
        lines = self._log.read_text().strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def finish(self) -> dict[str, Any]:
        """Wait for its report."""
        self._process.wait()
        if not self._report.exists() or not self._report.stat().st_size:
            return {"benchmarks": []}
        report: dict[str, Any] = json.loads(self._report.read_text())
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def compete(
    entrants: Mapping[Entrant, Collection[Item]],
    order: Sequence[Item],
    rounds: int,
    folder: Path,
    progress: Callable[[Item, str], None],
) -> tuple[dict[Entrant, dict[str, Any]], dict[tuple[Entrant, Item], str]]:
    """Start all entrants and let them take turns on the items they have.

    Parameters
    ----------
    entrants : mapping
        Who takes part, and in which items.
    order : sequence
        The order of the items.
    rounds : int
        Turns of each entrant on each item.
    folder : Path
        Holds what ``bench.reference`` expects of the items; plans, logs and reports go there.
    progress : callable
        Is called before each turn with the item and the entrant's name.

    Returns
    -------
    reports : dict
        What pytest-benchmark wrote for each entrant.
    refused : dict
        Why an entrant was not timed on an item: its result was wrong, or it failed.
    """
    refused: dict[tuple[Entrant, Item], str] = {}
    with ExitStack() as stack:
        contestants = []
        for entrant, items in entrants.items():
            own = [item for item in order if item in items]
            contestants.append(stack.enter_context(Contestant(entrant, own, rounds, folder)))
        for item in order:
            taking_part = [c for c in contestants if item in c.items]
            refused |= _run_item(item, taking_part, rounds, progress)
        return {c.entrant: c.finish() for c in contestants}, refused


def _run_item(
    item: Item,
    contestants: Sequence[Contestant],
    rounds: int,
    progress: Callable[[Item, str], None],
) -> dict[tuple[Entrant, Item], str]:
    """Let contestants check their results, then take turns; return who was refused, and why."""
    refused: dict[tuple[Entrant, Item], str] = {}

    def tell(contestant: Contestant, what: str, expected: str) -> None:
        progress(item, contestant.entrant.name)
        answer, detail = contestant.tell(what)
        if answer != expected:
            refused[contestant.entrant, item] = detail

    for contestant in contestants:
        tell(contestant, PREPARE, READY)
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            entrant = contestant.entrant
            if (entrant, item) not in refused and number < rounds_of(entrant.name, rounds):
                tell(contestant, GO, DONE)
    return refused

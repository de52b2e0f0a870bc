"""Time one contestant on each pass of each case; check its result first.

Alone, without turns: ``pytest bench/suites --contestant numpy -k mnist-conv2``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import contestants, reference, selection
from bench.case_types import Case
from bench.suites.pace import MOST_CALLS, TURN_SECONDS, WARM_UP_SECONDS
from bench.turns import DONE, READY, NoTurns, TurnTaker, rounds_of


def test_pass(
    case_id: str,
    pass_name: str,
    pytestconfig: pytest.Config,
    turns: TurnTaker | None,
    tmp_path: Path,
    benchmark: Any,
) -> None:
    """Check one contestant's result, then time it, in turns if there is an orchestrator."""
    name, threads = pytestconfig.getoption("contestant"), pytestconfig.getoption("threads")
    case = selection.case(case_id)
    if turns is None:
        turns, folder = NoTurns(), tmp_path
        reference.prepare(case, pass_name, folder)
    else:
        folder = Path(pytestconfig.getoption("items")).parent
    turns.wait()
    with turns.refusing_on_error():
        function = contestants.prepare(name, case, threads)[pass_name]
        started = time.perf_counter()
        reference.check(case, pass_name, function, folder)
        check_seconds = time.perf_counter() - started
        calls = _calls_in_a_turn(function)
        measure_peak = _peak_measure(name, case, pass_name, threads)
        peaks: list[float] = []
        benchmark.extra_info.update(calls=calls, check_seconds=check_seconds, peaks=peaks)
        turns.say(READY)

        def end() -> None:
            peaks.extend(measure_peak())
            turns.say(DONE)

        rounds = rounds_of(name, pytestconfig.getoption("rounds"))
        _time(function, calls, rounds, turns.wait, end, benchmark)


def _peak_measure(name: str, case: Case, pass_name: str, threads: int) -> Callable[[], list[float]]:
    """Return what measures the machine's peak in a turn, if a share of it is to be shown.

    It comes last: a turn begins with a warm-up, whoever's turn was before.
    """
    if name != contestants.OURS or case.flops(pass_name) == 0:
        return list
    from kernels.backends.numba.peak import multiply_adds  # others' processes load no numba

    function, operations = multiply_adds(threads)
    function()  # may compile
    calls = _calls_in_a_turn(function)

    def measure() -> list[float]:
        started = time.perf_counter()
        for _ in range(calls):
            function()
        return [calls * operations / (time.perf_counter() - started) / 1e9]

    return measure


def _time(
    function: Callable[[], Any],
    calls: int,
    rounds: int,
    wait: Callable[[], None],
    end: Callable[[], None],
    benchmark: Any,
) -> None:
    """Take turns: warm up, then let pytest-benchmark time as many calls as fill one."""

    def begin() -> None:
        wait()
        _repeat_for(function, WARM_UP_SECONDS)

    def many() -> None:
        for _ in range(calls):
            function()

    benchmark.pedantic(many, setup=begin, teardown=end, rounds=rounds)


def _calls_in_a_turn(function: Callable[[], Any]) -> int:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
        if times[-1] > TURN_SECONDS:
            return 1
    return min(MOST_CALLS, max(1, round(TURN_SECONDS / min(times))))


def _repeat_for(function: Callable[[], Any], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while True:
        function()
        if time.perf_counter() >= end:
            return

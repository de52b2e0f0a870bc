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
        benchmark.extra_info.update(calls=calls, check_seconds=check_seconds)
        turns.say(READY)
        _time(function, calls, rounds_of(name, pytestconfig.getoption("rounds")), turns, benchmark)


def _time(
    function: Callable[[], Any], calls: int, rounds: int, turns: TurnTaker, benchmark: Any
) -> None:
    """Take turns: warm up, then let pytest-benchmark time as many calls as fill one."""

    def begin() -> None:
        turns.wait()
        _repeat_for(function, WARM_UP_SECONDS)

    def many() -> None:
        for _ in range(calls):
            function()

    benchmark.pedantic(many, setup=begin, teardown=lambda: turns.say(DONE), rounds=rounds)


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

"""Options of the speed suite, and the turns it waits for when an orchestrator asks it to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import contestants, selection
from bench.turns import TurnTaker


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name whom to time, and with what; see ``python -m bench --help`` for the whole."""
    group = parser.getgroup("speed suite")
    group.addoption("--contestant", default="numba", choices=contestants.NAMES)
    group.addoption("--threads", type=int, default=2)
    group.addoption("--rounds", type=int, default=5, help="turns on each pass")
    group.addoption("--items", help="JSON file of [case, pass] to run, in this order")
    group.addoption(
        "--turns", type=int, help="file descriptor that turns come from; if left out, at once"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each pass of each case."""
    config = metafunc.config
    if config.getoption("items"):
        items = json.loads(Path(config.getoption("items")).read_text())
    else:
        items = selection.taken_by(config.getoption("contestant"), selection.items())
    names = ["/".join(item) for item in items]
    metafunc.parametrize(("case_id", "pass_name"), items, ids=names)


@pytest.fixture(scope="session")
def turns(pytestconfig: pytest.Config) -> TurnTaker | None:
    """Connect to the orchestrator if there is one."""
    descriptor = pytestconfig.getoption("turns")
    return None if descriptor is None else TurnTaker(descriptor)

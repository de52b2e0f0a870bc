"""Suites that others wrote: options, and the table at the end of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnn.files import replacing
from tests.conformance.tally import Tally

TALLY = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-cases", action="store_true", help="run all random cases, not a fixed tenth"
    )
    parser.addoption(
        "--case", type=int, metavar="NUMBER", help="run only the random case of this number"
    )
    parser.addoption("--table", metavar="FILE", help="write the table of the suites to FILE, too")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Where each test enters its cases."""
    return request.config.stash[TALLY]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, and write it where the user wants it."""
    lines = config.stash[TALLY].table()
    terminalreporter.section("conformance")
    for line in lines:
        terminalreporter.write_line(line)
    if config.option.table:
        path = Path(config.option.table)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n")

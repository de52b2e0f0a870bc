"""Counting what was run, and the table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from kernels import ShapeError

COLUMNS = ("suite", "backend", "cases run", "passed", "failed", "out of scope")


@dataclass
class Row:
    """What came of one suite on one backend."""

    passed: int = 0
    failed: int = 0
    excused: Counter[str] = field(default_factory=Counter)


class Tally:
    """Counts cases of each suite and backend."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def row(self, suite: str, backend: str) -> Row:
        return self.rows.setdefault((suite, backend), Row())

    @contextmanager
    def case(self, suite: str, backend: str) -> Iterator[None]:
        """Count a block as passed, or as failed if it raises."""
        row = self.row(suite, backend)
        try:
            yield
        except BaseException:
            row.failed += 1
            raise
        row.passed += 1

    def check(self, suite: str, backend: str, reason: str | None, run: Callable[[], None]) -> None:
        """Run a case that has to pass or, if there is a reason why it cannot, has to fail.

        To fail is to be refused as bad input or to give another result; any other exception is a
        mistake of the adapter.
        """
        row = self.row(suite, backend)
        if reason is None:
            with self.case(suite, backend):
                run()
            return
        try:
            run()
        except (AssertionError, TypeError, ShapeError):
            row.excused[reason] += 1
            return
        except BaseException:
            row.failed += 1
            raise
        row.failed += 1
        pytest.fail(f"passes, but is listed as out of scope ({reason}): take it off the list")

    def table(self) -> list[str]:
        """Return the table as lines of Markdown, the reasons below it."""
        lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- | ---: | ---: | ---: | ---: |"]
        for (suite, backend), row in sorted(self.rows.items(), key=lambda item: item[0][0]):
            excused = row.excused.total()
            run = row.passed + row.failed + excused
            cells = (suite, backend, run, row.passed, row.failed, excused)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        return lines + self._reasons()

    def _reasons(self) -> list[str]:
        reasons: dict[tuple[str, str], int] = {}
        for (suite, _), row in self.rows.items():
            for reason, count in row.excused.items():
                reasons[suite, reason] = count
        if not reasons:
            return []
        listed = [f"- {suite}: {count} × {reason}" for (suite, reason), count in reasons.items()]
        return ["", "Out of scope (each case is run, and has to fail), for each backend:", *listed]

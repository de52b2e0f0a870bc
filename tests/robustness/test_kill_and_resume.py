"""Some kills of a training; ``python -m tests.robustness.kill_and_resume`` does hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness.kill_and_resume import kill_and_resume


@pytest.mark.slow
def test_killed_trainings_end_in_the_same_bits(tmp_path: Path) -> None:
    *_, tally = kill_and_resume(8, seed=0, backend="numpy", folder=tmp_path)
    assert tally.kills == 8
    assert sum(tally.training) >= 1
    assert tally.completed >= 1
    assert tally.different == 0

"""What docs/training.md shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cnn

GUIDE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.slow
def test_the_program_runs_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    first = capfd.readouterr().out
    assert float(first.split()[0]) > 0.9
    exec(program, {})  # the training is over: the checkpoint has it all
    assert capfd.readouterr().out == first
    assert cnn.load("best.safetensors").scaling is not None


def test_counts_of_parameters() -> None:
    rows = re.findall(r"\| `(\w+)` \|.*\| ([\d,]+) for (\d+)×(\d+)×(\d+) \|", GUIDE.read_text())
    assert {name for name, *_ in rows} == set(cnn.models.MODELS)
    for name, parameters, *shape in rows:
        model = cnn.models.create(name, input_shape=[int(size) for size in shape])
        assert cnn.summarize(model).parameters == int(parameters.replace(",", ""))

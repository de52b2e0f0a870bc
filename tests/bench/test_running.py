"""Whole runs, through the command line: processes, turns, checks, reports."""

from __future__ import annotations

import os

import pytest

from bench import cli, reference, results, selection
from cnn import environment

# Loaded into every contestant's process by pytest.
WRONG_RELU = """
import numpy, kernels.backends.numpy as backend
right = backend.relu
def relu(x, *, out):
    right(x, out=out)
    out.flat[5] += 1
backend.relu = relu
"""
DYING_RELU = """
import os, kernels.backends.numpy as backend
def relu(x, *, out):
    os._exit(3)
backend.relu = relu
"""


def latest(folder):
    return results.load(results.saved(folder, dict(environment.machine()))[-1])


def run(folder, *arguments):
    return cli.main(["run", "--folder", str(folder), "--threads=1", "--generations=1", *arguments])


@pytest.mark.slow
def test_run_report_and_compare(tmp_path, capsys):
    chosen = [
        "--suite",
        "naive",
        "--case",
        "digits-relu2*",
        "--case",
        "digits-fc2*",
        "--pass",
        "forward",
    ]
    names = [f"--backend={name}" for name in ("numpy", "numba", "naive")]
    assert run(tmp_path, *chosen, *names) == 0
    found = latest(tmp_path)
    assert found.items() == [("digits-relu2-b8", "forward"), ("digits-fc2-b8", "forward")]
    assert {row.contestant for row in found.rows} == {"numpy", "numba", "naive"}
    assert all(0 < row.time < 1 for row in found.rows)
    assert found.speed(("digits-fc2-b8", "forward"), "numpy", "naive").value > 5
    for row in found.rows:  # the peak is measured where numba computes
        measured = row.contestant == "numba" and row.case == "digits-fc2-b8"
        assert len(row.peaks) == (len(row.seconds) if measured else 0)
        assert all(peak > 1 for peak in row.peaks)
    assert found.refused == []
    assert found.peak_gflops > 1
    assert (tmp_path / "report.md").read_text().count("| digits-fc2-b8 | forward |") == 3
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.main(["compare", "--folder", str(tmp_path)]) == 2
    assert "2 saved runs are needed" in capsys.readouterr().err
    assert cli.main(["report", "--folder", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "why"),
    [(WRONG_RELU, "part 0 is off by 0.016"), (DYING_RELU, "its process ended")],
    ids=["wrong", "dying"],
)
def test_a_broken_kernel_is_refused_before_it_is_timed(tmp_path, monkeypatch, capsys, code, why):
    (tmp_path / "breaking_numpy.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PYTEST_PLUGINS", "breaking_numpy")
    case = ["--case", "mnist-relu2-b32", "--pass", "forward"]
    assert run(tmp_path / "results", *case, "--backend=numpy", "--backend=numba") == 1
    found = latest(tmp_path / "results")
    assert [row.contestant for row in found.rows] == ["numba"]
    assert [(r.contestant, r.case) for r in found.refused] == [("numpy", "mnist-relu2-b32")]
    assert why in found.refused[0].reason
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("pass_name", ["forward", "backward"])
def test_results_are_compared_with_the_reference(tmp_path, pass_name):
    case = selection.case("digits-fc2-b8")
    reference.prepare(case, pass_name, tmp_path)
    from bench.contestants import arrays, backends

    function = backends.prepare(case, "numpy")[pass_name]
    reference.check(case, pass_name, function, tmp_path)
    parts = [part.copy() for part in arrays(function())]
    parts[-1].flat[0] += 0.1
    with pytest.raises(reference.WrongResultError, match=rf"part {len(parts) - 1} is off by 0\.1"):
        reference.check(case, pass_name, lambda: tuple(parts), tmp_path)
    parts[-1].flat[0] = float("nan")
    with pytest.raises(reference.WrongResultError, match="is off by nan"):
        reference.check(case, pass_name, lambda: tuple(parts), tmp_path)
    with pytest.raises(reference.WrongResultError, match="elements, not"):
        reference.check(case, pass_name, lambda: (*parts[:-1], parts[-1][:1]), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--suite", "quik"], "suite must be one of quick, full, mnist"),
        (["run", "--case", "nothing-*"], "no case of suite quick has an id like nothing-*"),
        (["run", "--pass", "sideways"], "pass must be one of forward"),
        (["run", "--backend", "cuda"], "backend must be one of numpy, numba, naive"),
        (["run", "--threads", "100000"], "threads must be at most"),
        (["run", "--threads", "0"], "Invalid value for"),
        (["readme", "--part", "poetry"], "part must be one of training"),
        (["report"], "1 saved run is needed"),
        (["compare"], "2 saved runs are needed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, message):
    folder = [] if arguments[0] == "readme" else ["--folder", str(tmp_path / "results")]
    assert cli.main([*arguments, *folder]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_list_shows_every_case(capsys):
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert "imagenet-conv1-b8" in text
    assert "* mnist-conv2-b32" in text

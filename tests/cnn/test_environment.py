"""Facts about the machine, files that appear whole, and what importing costs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn import environment
from cnn.files import replacing


def test_versions() -> None:
    versions = environment.versions()
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__
    assert versions["cnn-kernels"] == cnn.__version__
    assert versions["numba"]


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise environment.PackageNotFoundError(name)

    monkeypatch.setattr(environment, "version", missing)
    assert environment.package_version() == "0+unknown"
    assert environment.versions()["numba"] is None


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    assert environment.machine()["cpu"] == (platform.processor() or platform.machine())
    first = environment.process_seconds()
    assert 0 < first < environment.process_seconds() < time.monotonic()


def test_machine() -> None:
    machine = environment.machine()
    assert machine["cpu"]
    assert 1 <= machine["usable_cores"] <= machine["cores"] == os.cpu_count()
    assert machine["os"] == platform.platform()


def output(program: str) -> str:
    """What a new Python prints, in which cnn can be imported."""
    command = [sys.executable, "-c", program]
    root = Path(cnn.__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, check=True, text=True).stdout


def test_process_seconds_count_from_the_start_of_python() -> None:
    started = time.monotonic()
    seconds = float(
        output(
            "import time; time.sleep(0.3); from cnn import environment;"
            "print(environment.process_seconds())"
        )
    )
    assert 0.28 <= seconds <= time.monotonic() - started + 0.02


def half_written(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_replacing_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError):
        half_written(path)
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]

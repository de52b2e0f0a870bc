"""What the tests of ``cnn`` share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import kernels
from tests.cnn.commands import TWICE, run
from tests.kernels import broken


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240601)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a training saves its checkpoint."""
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def fusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A backend that gains by fusion, as the current one: models fuse without being told to."""
    monkeypatch.setattr("kernels.dispatch._registered", {})
    kernels.register_backend("fusing", broken.fusing())
    with kernels.use_backend("fusing"):
        yield "fusing"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run from an empty folder, with the default --out, and what it printed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    result = run(folder, *TWICE)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder / "runs" / "latest", result.stdout

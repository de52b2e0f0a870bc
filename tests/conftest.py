from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import kernels

os.environ.setdefault("CNN_KERNELS_COMPILE_AHEAD", "0")  # processes here are many already

BACKENDS = kernels.available_backends()

collect_ignore = ["conformance"]  # needs PyTorch and ONNX: run by `make conformance`


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend in turn, as the current one."""
    with kernels.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[name for name in BACKENDS if name != "naive"])
def fast_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend that is checked against the naive one."""
    with kernels.use_backend(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def thread_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test's ``set_num_threads`` reach the next one: nothing public takes a limit away."""
    monkeypatch.setattr("kernels.threads._limit", kernels.threads.limit())


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C interrupt as in a terminal: shells have it ignored by what they start with &."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests marked ``long`` unless ``-m`` names them, whatever else it says."""
    if "long" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]

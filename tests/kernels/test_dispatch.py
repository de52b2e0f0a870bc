"""Which backend a call uses: argument, context, process, environment, default; no fallback."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import kernels


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_available_backends():
    assert kernels.available_backends()[:3] == ("naive", "numpy", "numba")


def test_default_is_numba():
    result = _python("import kernels; print(kernels.get_backend())", CNN_KERNELS_BACKEND="")
    assert result.stdout.strip() == "numba"


def test_order_of_precedence():
    code = """
import kernels, numpy as np
print(kernels.get_backend())
kernels.set_backend("naive"); print(kernels.get_backend())
with kernels.use_backend("numba"): print(kernels.get_backend())
print(kernels.get_backend())
"""
    result = _python(code, CNN_KERNELS_BACKEND="numpy")
    assert result.stdout.split() == ["numpy", "naive", "numba", "naive"]


def test_argument_wins(monkeypatch):
    """Each backend leaves its own memory layout behind."""
    x, weight = np.ones((1, 3, 4, 4)), np.ones((2, 3, 1, 1))
    with kernels.use_backend("numpy"):
        assert kernels.conv2d(x, weight, backend="naive").flags.c_contiguous
        assert not kernels.conv2d(x, weight).flags.c_contiguous


def test_unknown_backend_lists_those_there_are():
    for call in (
        lambda: kernels.set_backend("cuda"),
        lambda: kernels.use_backend("cuda").__enter__(),
        lambda: kernels.relu(np.ones(3), backend="cuda"),
    ):
        with pytest.raises(
            kernels.UnknownBackendError, match=r"one of 'naive', 'numpy', 'numba'.*; got 'cuda'"
        ):
            call()
    assert issubclass(kernels.UnknownBackendError, ValueError)


def test_backend_must_be_a_string():
    with pytest.raises(TypeError, match="backend must be a string, got int"):
        kernels.relu(np.ones(3), backend=3)


def test_unknown_backend_in_the_environment_does_not_fall_back():
    result = _python(
        "import kernels, numpy; kernels.relu(numpy.ones(3))", CNN_KERNELS_BACKEND="fortran"
    )
    assert result.returncode != 0
    assert "CNN_KERNELS_BACKEND must be one of" in result.stderr


def test_use_backend_is_restored_after_an_error_and_nests():
    before = kernels.get_backend()

    def fail():
        with kernels.use_backend("numpy"):
            with kernels.use_backend("naive"):
                assert kernels.get_backend() == "naive"
            assert kernels.get_backend() == "numpy"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert kernels.get_backend() == before


def test_threads_do_not_inherit_use_backend():
    seen = []
    before = kernels.get_backend()
    with kernels.use_backend("naive"):
        thread = threading.Thread(target=lambda: seen.append(kernels.get_backend()))
        thread.start()
        thread.join()
    assert seen == [before]


def test_imports_are_lazy():
    code = """
import sys, kernels, cnn
heavy = {"numba", "sklearn", "matplotlib", "typer", "rich", "torch"}
assert not heavy & set(sys.modules)
import numpy as np
kernels.relu(np.ones(3), backend="naive"); kernels.relu(np.ones(3), backend="numpy")
assert "numba" not in sys.modules
"""
    result = _python(code)
    assert result.returncode == 0, result.stderr

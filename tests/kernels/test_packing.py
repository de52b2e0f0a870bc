"""Weights are read to their end, and no further, whatever squares of them are turned over."""

from __future__ import annotations

import subprocess
import sys

import pytest

AT_THE_END = """
import ctypes, mmap
import numpy as np
import kernels

libc, page = ctypes.CDLL(None), mmap.PAGESIZE

def at_the_end(array):
    pages = -(-array.nbytes // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    behind = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + pages * page
    assert libc.mprotect(ctypes.c_void_p(behind), page, 0) == 0
    last = np.frombuffer(memory, np.uint8)[pages * page - array.nbytes : pages * page]
    placed = last.view(array.dtype).reshape(array.shape)
    placed[...] = array
    return placed

rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for O, C, window, groups in (
        (32, 16, (3, 2), 2), (16, 16, (3, 3), 1), (33, 17, (3, 3), 1), (64, 64, (3, 3), 1),
        (16, 5, (5, 5), 1), (32, 32, (1, 1), 1), (48, 3, (7, 7), 1), (32, 1, (2, 3), 1),
    ):
        x = rng.standard_normal((2, C, 9, 9)).astype(dtype)
        weight = at_the_end(rng.standard_normal((O, C // groups, *window)).astype(dtype))
        found, wanted = [], []
        for backend, results in (("numba", found), ("numpy", wanted)):
            settings = {"padding": 1, "groups": groups, "backend": backend}
            results.append(kernels.conv2d(x, weight, **settings))
            grad_y = np.ones_like(results[0])
            results.append(kernels.conv2d_backward_input(grad_y, weight, x.shape, **settings))
        for one, other in zip(found, wanted):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
print("done")
"""


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")
def test_nothing_is_read_behind_the_weights():
    run = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=300
    )
    assert run.stdout.split() == ["done"], run.stderr

"""Arrays are read to their end, and no further, whatever squares or pairs are made of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

AT_THE_END = """
import ctypes, itertools, mmap
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

def image_at_the_end(shape):
    N, C, H, W = shape
    return at_the_end(rng.standard_normal((N, H, W, C)).astype(dtype)).transpose(0, 3, 1, 2)

rng = np.random.default_rng(0)
for dtype, padding in itertools.product(("float32", "float64"), (0, 1)):
    for O, C, window, groups in (
        (32, 16, (3, 2), 2), (16, 16, (3, 3), 1), (33, 17, (3, 3), 1), (64, 64, (3, 3), 1),
        (16, 5, (5, 5), 1), (32, 32, (1, 1), 1), (48, 3, (7, 7), 1), (32, 1, (2, 3), 1),
        (6, 1, (5, 5), 1), (16, 3, (3, 3), 1), (7, 2, (1, 1), 1),
    ):
        x = image_at_the_end((2, C, 9, 9))
        weight = at_the_end(rng.standard_normal((O, C // groups, *window)).astype(dtype))
        settings = {"padding": padding, "groups": groups}
        grad_y = image_at_the_end(kernels.conv2d(x, weight, **settings, backend="numpy").shape)
        found, wanted = (
            (
                kernels.conv2d(x, weight, **settings, backend=backend),
                kernels.conv2d_backward_input(
                    grad_y, weight, x.shape, **settings, backend=backend
                ),
                kernels.conv2d_backward_weight(
                    grad_y, x, weight.shape, **settings, backend=backend
                ),
            )
            for backend in ("numba", "numpy")
        )
        for one, other in zip(found, wanted):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
print("done")
"""


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")
def test_nothing_is_read_behind_arrays():
    run = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=300
    )
    assert run.stdout.split() == ["done"], run.stderr

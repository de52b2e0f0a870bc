"""The memory of large results is kept for later ones, once no array is on it, and not too much."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import kernels
from kernels.backends.numba import large

SHAPE = (2, 3, 1, large.LARGE // 16)


@pytest.fixture
def x(monkeypatch):
    monkeypatch.setattr(large, "_free", [])
    return np.full(SHAPE, -1, np.float32)


def relu(x):
    return kernels.relu(x, backend="numba")


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_is_lent_again(x):
    assert x.nbytes >= large.LARGE
    first = relu(x)
    at = place(first)
    del first
    assert place(relu(x)) == at


@pytest.mark.parametrize("of", [lambda y: y[1, 2:], memoryview, lambda y: y.T.base])
def test_memory_is_not_lent_while_something_is_on_it(x, of):
    first = relu(x)
    at, view = place(first), of(first)
    del first
    gc.collect()
    other = relu(np.ones_like(x))
    assert place(other) != at
    assert not np.asarray(view).any()


def test_smaller_results_do_not_take_much_larger_blocks(x):
    first = relu(np.concatenate([x] * 3))
    at = place(first)
    del first
    assert place(relu(x)) != at
    assert len(large._free) == 2


def test_what_is_kept_is_bounded(x, monkeypatch):
    monkeypatch.setattr(large, "MOST_KEPT", 2 * x.nbytes + 1000)
    results = [relu(x) for _ in range(4)]
    last = place(results[-1])
    while results:
        del results[0]
    assert len(large._free) == 2
    assert place(relu(x)) == last


def test_small_results_are_left_to_the_c_library(x):
    relu(x[:1])
    assert large._free == []


def test_threads_have_memory_of_their_own(x):
    signs = [np.full_like(x, sign) for sign in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            results = list(threads.map(relu, signs))
            assert [float(y.min()) for y in results] == [1, 2, 3, 4]
            assert [float(y.max()) for y in results] == [1, 2, 3, 4]
            del results

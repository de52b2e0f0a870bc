"""Compiled functions have names of their own, in whichever process they were numbered."""

import pytest

from kernels.backends.numba.naming import named
from tests.robustness.processes import run

NUMBERED_ALIKE = """
import itertools
from numba.core.bytecode import FunctionIdentity
FunctionIdentity._unique_ids = itertools.repeat(7)

import numpy as np
import kernels

rng = np.random.default_rng(0)
for C, stride in ((33, 1), (33, 2)):
    x, weight = rng.standard_normal((2, C, 9, 12)), rng.standard_normal((C, 1, 3, 3))
    settings = {"stride": stride, "padding": 1, "groups": C}
    y = kernels.conv2d(x, weight, **settings, backend="numpy")
    found = kernels.conv2d(x, weight, **settings, backend="numba")
    np.testing.assert_allclose(found, y, atol=1e-12)
    wanted = kernels.conv2d_backward_input(y, weight, x.shape, **settings, backend="numpy")
    found = kernels.conv2d_backward_input(y, weight, x.shape, **settings, backend="numba")
    np.testing.assert_allclose(found, wanted, atol=1e-12)
print("right")
"""


def closure(*held):
    def function(x):
        return held and x

    (cell,) = function.__closure__
    cell.cell_contents = held[0]
    return named(function)


def name_of(*held):
    return closure(*held).__qualname__


@pytest.mark.compiled
def test_a_closure_is_named_by_what_it_closes_over():
    assert name_of(1) == name_of(1)
    assert len({name_of(1), name_of(2), name_of(1.0), name_of("1"), name_of(True)}) == 5
    assert name_of(closure(1)) == name_of(closure(1))
    assert name_of(closure(1)) != name_of(closure(2))


def test_a_closure_is_named_once():
    function = closure(1)
    name = function.__qualname__
    assert named(function).__qualname__ == name


@pytest.mark.compiled
def test_a_closure_that_was_not_named_cannot_be_closed_over():
    held = 1
    with pytest.raises(TypeError, match="may close over numbers and functions; got"):
        closure(lambda x: held + x)


def test_what_is_no_closure_keeps_its_name():
    assert named(name_of).__qualname__ == "name_of"


@pytest.mark.compiled
@pytest.mark.parametrize("value", [[1], (1, 2), object(), None])
def test_what_has_no_name_cannot_be_closed_over(value):
    with pytest.raises(TypeError, match="may close over numbers and functions; got"):
        closure(value)


@pytest.mark.slow
@pytest.mark.compiled
def test_loops_are_not_mixed_up_where_all_functions_have_one_number(tmp_path):
    """As two processes may number the functions of a factory, whose code a third one loads."""
    assert run(NUMBERED_ALIKE, NUMBA_CACHE_DIR=str(tmp_path))[0] == "right\n"

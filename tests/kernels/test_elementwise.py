"""Elementwise steps: what they compute, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels import fused
from kernels.fused import Scalar, Step, Temporary
from tests.kernels.comparing import random


def test_steps_see_what_earlier_ones_left(backend):
    a, b = random(0, "float32", (3, 50_000), (3, 50_000))
    wanted = np.sqrt(abs((a - b) * np.float32(0.3)) + b * b) / a
    work = Temporary(3)
    fused.elementwise(
        [
            Step("subtract", work, a, b),
            Step("multiply", work, work, Scalar(1)),
            Step("multiply", Temporary(0), work, work),
            Step("sqrt", work, Temporary(0)),
            Step("multiply", b, b, b),
            Step("add", b, work, b),
            Step("sqrt", b, b),
            Step("divide", a, b, a),
        ],
        np.array([7.0, 0.3]),
        backend=backend,
    )
    np.testing.assert_allclose(a, wanted, rtol=1e-5)


A, FROZEN = np.ones((2, 3), "float32"), np.ones((2, 3), "float32")
FROZEN.flags.writeable = False


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Step("power", A, A, A)], r"steps\[0\] must be one of add, .* got 'power'"),
        ([Step("add", A, A)], r"steps\[0\] must have a right operand unless it is sqrt"),
        ([Step("sqrt", A, A, A)], "must have a right operand unless it is sqrt"),
        ([Step("add", A, A, A), Step("add", A, A, np.ones(6, "float32"))], r"steps\[1\]'s array"),
        ([Step("add", A, A, np.ones((2, 3)))], "must be of float32"),
        ([Step("add", np.ones((3, 2), "float32").T, A, A)], "must be C-contiguous"),
        ([Step("add", Temporary(4), A, A)], "temporaries from 0 to 3"),
        ([Step("add", A, A, Scalar(1))], "must use scalars below 1, got 1"),
        ([Step("add", Scalar(0), A, A)], "out must be an array or a Temporary"),
        ([Step("multiply", A, A, 0.5)], "operands must be arrays, Temporaries or Scalars, got 0.5"),
        ([Step("add", FROZEN, A, A)], "out must be writeable"),
        ([Step("add", Temporary(0), Scalar(0), Scalar(0))], "must have an array"),
        ([], "must have an array"),
    ],
)
def test_steps_that_do_not_fit_are_refused_before_any_is_done(backend, steps, message):
    with pytest.raises((kernels.ShapeError, TypeError), match=message):
        fused.elementwise(steps, np.ones(1), backend=backend)
    assert (A == 1).all()


def test_an_update_without_steps_is_refused(backend):
    x, bias = np.ones((3, 3)), np.ones(3)
    gradients = dict(grad_x=x.copy(), grad_weight=x.copy(), grad_bias=bias)
    with pytest.raises(kernels.ShapeError, match="must have an array"):
        fused.linear_update(x, x, x, **gradients, steps=[], scalars=bias, backend=backend)
    steps = [Step("add", bias, bias, bias)]
    with pytest.raises(kernels.ShapeError, match=r"the steps' arrays must have shape \(3, 3\)"):
        fused.linear_update(x, x, x, **gradients, steps=steps, scalars=bias, backend=backend)

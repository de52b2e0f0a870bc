"""Optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnn


def parameter(values: list[float], grad: list[float] | None, dtype: str) -> cnn.Parameter:
    made = cnn.Parameter(np.array(values, dtype))
    made.grad = None if grad is None else np.array(grad, dtype)
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sgd_by_literal_and_in_place(dtype: str) -> None:
    one = parameter([1.0, -2.0], [0.5, 4.0], dtype)
    array = one.data
    cnn.optim.SGD(lr=0.25).step([one])
    assert array.tolist() == [0.875, -3.0]
    assert one.data is array
    assert array.dtype == dtype
    assert one.grad is not None
    assert one.grad.tolist() == [0.5, 4.0]


def test_a_missing_gradient_changes_nothing() -> None:
    parameters = [parameter([1.0], [1.0], "float32"), parameter([1.0], None, "float32")]
    with pytest.raises(RuntimeError, match=r"Parameter\(shape=\(1,\).* has no gradient"):
        cnn.optim.SGD().step(iter(parameters))
    assert parameters[0].data.tolist() == [1.0]


@pytest.mark.parametrize("lr", [0.0, -0.1, float("nan"), float("inf")])
def test_learning_rate_out_of_range(lr: float) -> None:
    with pytest.raises(ValueError, match="lr must be finite and above 0, got"):
        cnn.optim.SGD(lr=lr)


@pytest.mark.parametrize("lr", ["0.1", None, True])
def test_learning_rate_must_be_a_number(lr: Any) -> None:
    with pytest.raises(TypeError, match="lr must be a number, got"):
        cnn.optim.SGD(lr=lr)


def test_by_name() -> None:
    assert cnn.optim.create("sgd", lr=0.5).lr == 0.5
    with pytest.raises(ValueError, match="optimizer must be one of 'sgd'; got 'adam'"):
        cnn.optim.create("adam")

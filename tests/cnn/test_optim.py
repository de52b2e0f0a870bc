"""Optimisers, by literal; tests/conformance has them beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn import optim


def parameter(values: Any, grad: Any, dtype: str = "float64") -> cnn.Parameter:
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


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({"momentum": 0.5}, [0.5, -0.25]),
        ({"momentum": 0.5, "nesterov": True}, [0.25, -0.625]),
        ({"weight_decay": 0.5}, [0.25, -0.3125]),
        ({"momentum": 0.5, "weight_decay": 0.5}, [0.25, -0.6875]),
    ],
)
def test_sgd_with_momentum_and_decay_by_literal(settings: Any, after: list[float]) -> None:
    one, chosen = parameter([1.0], [1.0]), optim.SGD(lr=0.5, **settings)
    for expected in after:
        chosen.step([one])
        assert one.data.tolist() == [expected]
        assert one.grad is not None
        assert one.grad.tolist() == [1.0]


def test_the_first_step_of_adam_is_the_sign_of_the_gradient() -> None:
    for grad in (1e-3, 1.0, -1e4):
        one = parameter([2.0], [grad])
        optim.Adam(lr=0.25, eps=1e-30).step([one])
        assert one.data == pytest.approx(2.0 - np.sign(grad) / 4)


def test_adamw_decays_matrices_and_filters_alone() -> None:
    matrix, bias = parameter([[4.0]], [[0.0]]), parameter([4.0], [0.0])
    chosen = optim.AdamW(lr=0.5, weight_decay=0.5)
    chosen.step([matrix, bias])
    assert matrix.data.tolist() == [[3.0]]
    assert bias.data.tolist() == [4.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda: optim.Adam(0.1, weight_decay=0.1),
        lambda: optim.AdamW(0.1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_state_continues_bit_for_bit(make: Any, dtype: str, rng: np.random.Generator) -> None:
    grads = [(rng.standard_normal((3, 2)), rng.standard_normal(7)) for _ in range(6)]

    def fresh() -> dict[str, cnn.Parameter]:
        return {
            "a": parameter(np.ones((3, 2)), None, dtype),
            "b": parameter([1.0] * 7, None, dtype),
        }

    def steps(chosen: optim.Optimizer, named: dict[str, cnn.Parameter], which: Any) -> None:
        for pair in grads[which]:
            for one, grad in zip(named.values(), pair, strict=True):
                one.grad = grad.astype(dtype)
            chosen.step(named.values())

    whole, named = make(), fresh()
    steps(whole, named, slice(6))
    first, stopped = make(), fresh()
    steps(first, stopped, slice(3))
    state = first.state_dict(stopped)
    second, rest = make(), fresh()
    for name, one in rest.items():
        one.data[...] = stopped[name].data
    second.load_state_dict(rest, state)
    steps(first, stopped, slice(1))  # the state was a copy: this changes nothing
    steps(second, rest, slice(3, 6))
    assert second.steps == 6
    for name, one in rest.items():
        assert one.data.dtype == dtype
        assert np.array_equal(one.data, named[name].data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1),
        lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.01),
        lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: optim.Adam(0.1, weight_decay=0.01),
        lambda: optim.AdamW(0.1),
    ],
)
def test_large_parameters_get_the_same_bits_from_the_backend(make: Any, dtype: str) -> None:
    shapes = (150, 301), (70_001,)
    updated = []
    for backend in ("numpy", "numba"):
        generator = np.random.default_rng(0)
        optimizer = make()
        parameters = [cnn.Parameter(generator.standard_normal(s).astype(dtype)) for s in shapes]
        with kernels.use_backend(backend):
            for _ in range(3):
                for parameter in parameters:
                    parameter.grad = generator.standard_normal(parameter.data.shape).astype(dtype)
                optimizer.step(parameters)
        updated.append([parameter.data for parameter in parameters])
    for by_numpy, by_numba in zip(*updated, strict=True):
        np.testing.assert_array_equal(by_numpy, by_numba)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    chosen, named = optim.SGD(momentum=0.9), {"a": parameter([1.0, 2.0], [1.0, 1.0])}
    chosen.step(named.values())
    before = chosen.state_dict(named)
    assert set(before) == {"velocity.a", "steps"}
    for state, message in (
        ({"steps": 3}, "missing velocity.a"),
        (before | {"mean.a": np.ones(2)}, "unexpected mean.a"),
        (before | {"velocity.a": np.ones(3)}, r"velocity.a must have shape \(2,\), got \(3,\)"),
        (before | {"steps": np.array(1.5)}, "steps must be of an integer dtype"),
    ):
        with pytest.raises(ValueError, match=message):
            chosen.load_state_dict(named, state)
    after = chosen.state_dict(named)
    assert all(np.array_equal(before[name], after[name]) for name in before)


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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD(momentum=1.0), ValueError, "momentum must be from 0 to below 1, got 1"),
        (lambda: optim.SGD(momentum="x"), TypeError, "momentum must be a number, got 'x'"),
        (lambda: optim.SGD(weight_decay=-1), ValueError, "weight_decay must be finite and 0 or"),
        (lambda: optim.SGD(nesterov=True), ValueError, "nesterov needs a momentum above 0, got 0"),
        (lambda: optim.Adam(betas=0.9), TypeError, "betas must be two numbers, got 0.9"),
        (lambda: optim.Adam(betas=(0.9, 1)), ValueError, r"betas\[1\] must be from 0 to below 1"),
        (lambda: optim.Adam(eps=0), ValueError, "eps must be finite and above 0, got 0"),
        (lambda: optim.AdamW(weight_decay="x"), TypeError, "weight_decay must be a number"),
        (lambda: optim.clip_grad_norm([], 0), ValueError, "max_norm must be finite and above 0"),
        (lambda: optim.clip_grad_norm([], None), TypeError, "max_norm must be a number, got None"),
    ],
)
def test_refused_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_clipping_by_literal() -> None:
    parameters = [parameter([0.0], [3.0]), parameter([[0.0]], [[4.0]]), parameter([1.0], None)]
    assert optim.clip_grad_norm(iter(parameters), 10) == 5
    assert [one.grad.item() for one in parameters[:2]] == [3, 4]
    assert optim.clip_grad_norm(parameters, 1) == 5
    assert parameters[0].grad == pytest.approx(0.6, rel=1e-5)
    assert parameters[1].grad == pytest.approx(0.8, rel=1e-5)


def test_clipping_sums_squares_beyond_float32() -> None:
    one = parameter([0.0, 0.0], [3e30, 4e30], "float32")
    assert optim.clip_grad_norm([one], 1) == pytest.approx(5e30)
    assert one.grad == pytest.approx([0.6, 0.8])


def test_clipping_keeps_divergence_visible() -> None:
    one = parameter([0.0, 0.0], [np.nan, 1.0])
    assert np.isnan(optim.clip_grad_norm([one], 1))
    assert np.isnan(one.grad).all()


def test_by_name() -> None:
    assert cnn.optim.create("sgd", lr=0.5).lr == 0.5
    assert cnn.optim.create("adamw", weight_decay=0.5).describe() == {
        "name": "AdamW",
        "lr": 0.001,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.5,
    }
    with pytest.raises(ValueError, match="one of 'sgd', 'adam', 'adamw'; got 'rmsprop'"):
        cnn.optim.create("rmsprop")

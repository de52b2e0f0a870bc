"""``python -m cnn gradcheck`` passes what is right and finds what is wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn import cli, gradcheck
from kernels.backends import numpy as numpy_backend
from tests.kernels.broken import broken


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make numpy with some functions replaced the backend ``broken``."""
    monkeypatch.setattr("kernels.dispatch._registered", {})
    return lambda **replaced: kernels.register_backend("broken", broken(**replaced))


def failed(lines: list[str]) -> set[tuple[str, str]]:
    """Return layer and array of the table's rows that failed."""
    rows = [[cell.strip() for cell in line.split("│")] for line in lines if "FAILED" in line]
    return {(row[1], row[2]) for row in rows}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = cli.main(["gradcheck", *arguments])
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_what_is_right_passes(fast_backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = run(capsys, "--backend", fast_backend, "--seed", "3")
    assert code == 0
    assert lines[0].strip() == f"gradients of backend {fast_backend}"
    assert lines[-1].startswith("53 gradients, 0 failed")
    assert sum(" ok " in line for line in lines) == 53


def test_every_layer_is_checked() -> None:
    layers = {name for name in cnn.layers.__all__ if isinstance(getattr(cnn, name, None), type)}
    named = {subject.name.split(",")[0] for subject in gradcheck.subjects(0)}
    assert layers - {"Layer", "Sequential"} <= named
    assert "mnist_cnn" in named


def test_a_wrong_gradient_fails_on_both_counts(
    register: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    @functools.wraps(numpy_backend.linear_backward)
    def linear_backward(*arguments: Any, grad_x: Any, **gradients: Any) -> None:
        numpy_backend.linear_backward(*arguments, grad_x=grad_x, **gradients)
        grad_x[0] *= 1 + 1e-5

    register(linear_backward=linear_backward)
    code, lines = run(capsys, "--backend", "broken")
    assert code == 1
    assert ("Linear", "input") in failed(lines)
    # In the network, what comes before a linear layer is wrong, too, and what comes after is not.
    assert {("mnist_cnn", "input"), ("mnist_cnn", "8.weight")} <= failed(lines)
    assert not failed(lines) & {("mnist_cnn", "11.weight"), ("Linear", "weight")}


def test_a_gradient_of_something_else_differs_from_naive(
    register: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Forward and backward agree with each other, but not on what a convolution is."""

    def conv2d(x: Any, weight: Any, bias: Any, geometry: Any, *, out: Any) -> None:
        numpy_backend.conv2d(x, 2 * weight, bias, geometry, out=out)

    def conv2d_backward_input(grad_y: Any, weight: Any, geometry: Any, *, out: Any) -> None:
        numpy_backend.conv2d_backward_input(grad_y, 2 * weight, geometry, out=out)

    def conv2d_backward_weight(grad_y: Any, x: Any, geometry: Any, *, out: Any) -> None:
        numpy_backend.conv2d_backward_weight(grad_y, 2 * x, geometry, out=out)

    register(
        conv2d=conv2d,
        conv2d_backward_input=conv2d_backward_input,
        conv2d_backward_weight=conv2d_backward_weight,
    )
    (subject,) = (s for s in gradcheck.subjects(0) if s.name == "Conv2d")
    found = {result.array: result for result in gradcheck.check(subject, "broken")}
    assert max(result.slope for result in found.values()) <= 1
    assert min(found["input"].naive, found["weight"].naive) > 1
    assert run(capsys, "--backend", "broken")[0] == 1


def test_nan_is_a_failure(
    register: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    register(relu_backward=lambda grad_y, y, *, out: out.fill(np.nan))
    code, lines = run(capsys, "--backend", "broken")
    assert code == 1
    assert ("ReLU", "input") in failed(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "cuda"], "error: backend must be one of 'naive', 'numpy', 'numba'"),
        (["--seed", "-1"], "error: seed must be 0 or more, got -1"),
    ],
)
def test_bad_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gradcheck", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""


def test_a_layer_that_forgets_a_gradient() -> None:
    class Forgetful(cnn.Linear):
        def backward(self, grad_y: Any) -> Any:
            grad_x = super().backward(grad_y)
            self.weight.grad = None
            return grad_x

    x = np.ones((2, 3))
    layer = Forgetful(3, 2, dtype="float64")
    subject = gradcheck.Subject("Forgetful", layer, x, lambda y: (float(y.sum()), np.ones_like(y)))
    with pytest.raises(RuntimeError, match="Forgetful: backward has set no gradient of weight"):
        gradcheck.check(subject, "numpy")

"""The whole network's gradients against central finite differences, in float64."""

from __future__ import annotations

import numpy as np
import pytest

import cnn
import kernels
from cnn.arrays import FloatArray
from tests.cnn.toys import small_net, stripes

STEP = 1e-6
ENTRIES = 2


def loss_of(model: cnn.Sequential, x: FloatArray, y: np.ndarray) -> float:
    return kernels.softmax_cross_entropy(model.forward(x, training=True), y).mean_loss


def finite_difference(
    model: cnn.Sequential, array: FloatArray, index: tuple[int, ...], x: FloatArray, y: np.ndarray
) -> float:
    kept = array[index]
    array[index] = kept + STEP
    above = loss_of(model, x, y)
    array[index] = kept - STEP
    below = loss_of(model, x, y)
    array[index] = kept
    return (above - below) / (2 * STEP)


def residual_net() -> cnn.Sequential:
    """Residual addition with each kind of shortcut, and both average pools, for (1, 4, 4)."""
    rng = np.random.default_rng(0)

    def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> cnn.Conv2d:
        return cnn.Conv2d(
            inputs, outputs, size, stride, size // 2, bias=False, rng=rng, dtype="float64"
        )

    return cnn.Sequential(
        conv(1, 2, 3),
        cnn.Residual(cnn.Sequential(conv(2, 2, 3), cnn.BatchNorm2d(2, dtype="float64"))),
        cnn.ReLU(),
        cnn.Residual(conv(2, 3, 3, 2), cnn.PaddedShortcut(2, 3, 2)),
        cnn.Residual(
            cnn.Sequential(conv(3, 4, 3), cnn.ReLU()),
            cnn.Sequential(conv(3, 4, 1), cnn.BatchNorm2d(4, dtype="float64")),
        ),
        cnn.AvgPool2d(2, stride=1),
        cnn.GlobalAvgPool2d(),
        cnn.Flatten(),
        cnn.Linear(4, 3, rng=rng, dtype="float64"),
    )


@pytest.fixture(params=[small_net, residual_net])
def network(request: pytest.FixtureRequest, rng: np.random.Generator) -> cnn.Sequential:
    """A network whose biases and batch-norm weights are not 0 and 1, so that they count."""
    model: cnn.Sequential = request.param()
    for parameter in model.parameters():
        parameter.data += 0.3 * rng.standard_normal(parameter.data.shape)
    return model


def test_parameters(backend: str, network: cnn.Sequential, rng: np.random.Generator) -> None:
    x, y = stripes(4)
    logits = network.forward(x, training=True)
    network.backward(kernels.softmax_cross_entropy(logits, y).grad_logits)
    for name, parameter in network.named_parameters().items():
        gradient = parameter.grad
        assert gradient is not None
        assert gradient.shape == parameter.data.shape
        for _ in range(ENTRIES):
            index = tuple(int(rng.integers(size)) for size in parameter.data.shape)
            expected = finite_difference(network, parameter.data, index, x, y)
            assert gradient[index] == pytest.approx(expected, rel=1e-5, abs=1e-8), (name, index)


def test_input(backend: str, network: cnn.Sequential, rng: np.random.Generator) -> None:
    x, y = stripes(4)
    logits = network.forward(x, training=True)
    grad_x = network.backward(kernels.softmax_cross_entropy(logits, y).grad_logits)
    assert grad_x.shape == x.shape
    for _ in range(4 * ENTRIES):
        index = tuple(int(rng.integers(size)) for size in x.shape)
        expected = finite_difference(network, x, index, x, y)
        assert grad_x[index] == pytest.approx(expected, rel=1e-5, abs=1e-8), index


def test_softmax_layer(backend: str, rng: np.random.Generator) -> None:
    layer = cnn.Softmax()
    x, grad_y = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    layer.forward(x, training=True)
    grad_x = layer.backward(grad_y)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = STEP
        above = layer.forward(x + shift, training=False)
        below = layer.forward(x - shift, training=False)
        expected = (grad_y * (above - below)).sum() / (2 * STEP)
        assert grad_x[index] == pytest.approx(expected, rel=1e-6, abs=1e-9)

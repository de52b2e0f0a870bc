"""Layers one by one: values by literal, what they keep, what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import cnn
import kernels
from tests.cnn.toys import small_net

LAYERS: dict[str, tuple[Callable[[], cnn.Layer], tuple[int, ...]]] = {
    "Conv2d": (lambda: cnn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1), (2, 2, 5, 6)),
    "Conv2d without bias": (lambda: cnn.Conv2d(2, 4, 1, bias=False), (2, 2, 3, 3)),
    "MaxPool2d": (lambda: cnn.MaxPool2d(3, stride=2, padding=1), (2, 2, 5, 6)),
    "AvgPool2d": (lambda: cnn.AvgPool2d(2, padding=1, count_include_pad=False), (2, 2, 5, 6)),
    "GlobalAvgPool2d": (lambda: cnn.GlobalAvgPool2d(), (2, 3, 4, 5)),
    "Dropout": (lambda: cnn.Dropout(0.3), (2, 3, 4)),
    "Residual": (lambda: cnn.Residual(cnn.Conv2d(3, 3, 3, padding=1)), (2, 3, 4, 5)),
    "PaddedShortcut": (lambda: cnn.PaddedShortcut(2, 5, 2), (2, 2, 5, 4)),
    "BatchNorm1d": (lambda: cnn.BatchNorm1d(3), (4, 3)),
    "BatchNorm1d of sequences": (lambda: cnn.BatchNorm1d(3), (2, 3, 4)),
    "BatchNorm2d": (lambda: cnn.BatchNorm2d(3), (2, 3, 2, 2)),
    "ReLU": (lambda: cnn.ReLU(), (2, 3, 4)),
    "Softmax": (lambda: cnn.Softmax(), (4, 3)),
    "Flatten": (lambda: cnn.Flatten(), (2, 3, 4, 5)),
    "Linear": (lambda: cnn.Linear(3, 5), (2, 3)),
    "Linear without bias": (lambda: cnn.Linear(3, 5, bias=False), (2, 3)),
    "Sequential": (lambda: small_net(dtype="float32"), (4, 1, 4, 4)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def case(request: pytest.FixtureRequest, rng: np.random.Generator) -> tuple[cnn.Layer, np.ndarray]:
    make, shape = request.param
    return make(), rng.standard_normal(shape, dtype=np.float32)


def test_gradients_have_the_shapes_and_dtype_of_what_they_are_gradients_of(
    backend: str, case: tuple[cnn.Layer, np.ndarray]
) -> None:
    layer, x = case
    y = layer.forward(x, training=True)
    grad_x = layer.backward(np.ones_like(y))
    assert (grad_x.shape, grad_x.dtype) == (x.shape, x.dtype)
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert (parameter.grad.shape, parameter.grad.dtype) == (parameter.data.shape, x.dtype)


def test_each_training_forward_serves_one_backward(case: tuple[cnn.Layer, np.ndarray]) -> None:
    layer, x = case
    with kernels.use_backend("numpy"):
        y = layer.forward(x, training=True)
        layer.forward(x, training=False)  # leaves what the training forward kept
        layer.backward(np.ones_like(y))
        with pytest.raises(RuntimeError, match=r"backward needs a forward\(x, training=True\)"):
            layer.backward(np.ones_like(y))


def test_inference_changes_nothing(case: tuple[cnn.Layer, np.ndarray]) -> None:
    layer, x = case
    before = layer.state_dict()
    with kernels.use_backend("numpy"):
        y = layer.forward(x, training=False)
        with pytest.raises(RuntimeError, match="training=True"):
            layer.backward(np.ones_like(y))
    after = layer.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_convolution_by_literal(backend: str) -> None:
    layer = cnn.Conv2d(1, 1, 2, stride=2, dtype="float64")
    layer.load_state_dict({"weight": np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), "bias": np.ones(1)})
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y = layer.forward(x, training=True)
    assert y.tolist() == [[[[35.0, 55.0], [115.0, 135.0]]]]
    grad_x = layer.backward(np.array([[[[1.0, 0.0], [0.0, 2.0]]]]))
    assert grad_x[0, 0].tolist() == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 2, 4], [0, 0, 6, 8]]
    assert layer.weight.grad is not None
    assert layer.bias is not None
    assert layer.weight.grad[0, 0].tolist() == [[20.0, 23.0], [32.0, 35.0]]
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [3.0]


def test_linear_by_literal(backend: str) -> None:
    layer = cnn.Linear(2, 1, dtype="float64")
    layer.load_state_dict({"weight": np.array([[2.0, 3.0]]), "bias": np.array([1.0])})
    assert layer.forward(np.array([[1.0, 10.0]]), training=True).tolist() == [[33.0]]
    assert layer.backward(np.array([[2.0]])).tolist() == [[4.0, 6.0]]
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[2.0, 20.0]]


def test_dilation_and_groups_reach_the_kernel() -> None:
    layer = cnn.Conv2d(2, 2, 2, dilation=2, groups=2, bias=False, dtype="float64")
    layer.load_state_dict({"weight": np.ones((2, 1, 2, 2)) * [[[[1.0]]], [[[10.0]]]]})
    x = np.arange(18.0).reshape(1, 2, 3, 3)
    with kernels.use_backend("naive"):
        assert layer.forward(x, training=True).ravel().tolist() == [16.0, 520.0]
        grad_x = layer.backward(np.ones((1, 2, 1, 1)))
    assert grad_x[0].tolist() == [
        [[1, 0, 1], [0, 0, 0], [1, 0, 1]],
        [[10, 0, 10], [0, 0, 0], [10, 0, 10]],
    ]


def test_flatten_is_in_logical_order_whatever_the_memory_layout() -> None:
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    layer = cnn.Flatten()
    assert layer.forward(channels_last, training=True).tolist() == x.reshape(2, 12).tolist()
    assert np.array_equal(layer.backward(x.reshape(2, 12)), x)
    assert layer.forward(x[:0], training=False).shape == (0, 12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cnn.Conv2d(0, 1, 3), ValueError, "in_channels must be 1 or more, got 0"),
        (lambda: cnn.Conv2d(1, -1, 3), ValueError, "out_channels must be 1 or more, got -1"),
        (lambda: cnn.Conv2d(1, 1, (3, 0)), ValueError, "kernel_size must be 1 or more, got 0"),
        (lambda: cnn.Conv2d(4, 6, 3, groups=4), ValueError, "in_channels 4 and out_channels 6"),
        (lambda: cnn.Conv2d(1, 1, 3, dtype="int8"), TypeError, "float32 or float64, got 'int8'"),
        (lambda: cnn.Linear(3, 2.5), TypeError, "out_features must be an integer, got 2.5"),
        (lambda: cnn.Linear(3, 2, dtype=None), TypeError, "float32 or float64, got None"),
        (lambda: cnn.Linear(3, 2, dtype="x"), TypeError, "float32 or float64, got 'x'"),
        (lambda: cnn.MaxPool2d(0), ValueError, "kernel_size must be 1 or more, got 0"),
        (lambda: cnn.BatchNorm2d(0), ValueError, "num_features must be 1 or more, got 0"),
        (lambda: cnn.BatchNorm2d(2, eps=-1), ValueError, "eps must be finite and 0 or more"),
        (lambda: cnn.BatchNorm2d(2, momentum=1.5), ValueError, "momentum must be from 0 to 1"),
        (lambda: cnn.Dropout(1.1), ValueError, "p must be from 0 to 1, got 1.1"),
        (lambda: cnn.Dropout("half"), TypeError, "p must be a number, got 'half'"),
        (lambda: cnn.PaddedShortcut(4, 3), ValueError, "out_channels must be 4 or more, got 3"),
        (lambda: cnn.PaddedShortcut(4, 4, 0), ValueError, "stride must be 1 or more, got 0"),
        (lambda: cnn.Residual(None), TypeError, "body must be a cnn.Layer, got None"),
        (lambda: cnn.Residual(cnn.ReLU(), 3), TypeError, "shortcut must be a cnn.Layer, got 3"),
        (lambda: cnn.Sequential(cnn.ReLU), TypeError, "layer 0 must be a cnn.Layer"),
        (
            lambda: cnn.Sequential(cnn.Linear(1, 1), cnn.Linear(1, 1, dtype="float64")),
            TypeError,
            "one dtype, got float32 and float64",
        ),
    ],
)
def test_refused_arguments(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_he_initialisation() -> None:
    weight = cnn.Conv2d(8, 256, 3, rng=np.random.default_rng(0)).weight.data
    assert weight.std() == pytest.approx(1 / np.sqrt(3 * 72), rel=0.02)
    assert abs(weight).max() <= 1 / np.sqrt(72)
    assert weight.mean() == pytest.approx(0, abs=0.005)
    weight = cnn.Linear(512, 64, rng=np.random.default_rng(0)).weight.data
    assert weight.std() == pytest.approx(1 / np.sqrt(3 * 512), rel=0.02)
    wide = cnn.Linear(512, 64, rng=np.random.default_rng(0), dtype="float64").weight.data
    assert np.array_equal(weight, wide.astype(np.float32))
    assert not np.array_equal(cnn.Linear(3, 3).weight.data, cnn.Linear(3, 3).weight.data)


def test_average_pooling_passes_its_window_on(backend: str) -> None:
    layer = cnn.AvgPool2d(2, stride=1, padding=(0, 1), divisor_override=2)
    y = layer.forward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), training=True)
    assert y.tolist() == [[[[2.0, 5.0, 3.0]]]]
    assert layer.backward(np.ones_like(y)).tolist() == [[[[1.0, 1.0], [1.0, 1.0]]]]


def test_global_average_pooling_by_literal(backend: str) -> None:
    layer = cnn.GlobalAvgPool2d()
    y = layer.forward(
        np.array([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 2.0]]]]), training=True
    )
    assert y.tolist() == [[[[3.0]], [[0.5]]]]
    grad_x = layer.backward(np.array([[[[4.0]], [[8.0]]]]))
    assert grad_x.tolist() == [[[[1.0, 1.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]]]


def test_dropout_keeps_the_mean_and_masks_the_gradient_alike() -> None:
    layer = cnn.Dropout(0.2, rng=0)
    x = np.ones((100, 100))
    y = layer.forward(x, training=True)
    assert set(np.unique(y)) == {0.0, 1.25}
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.02)
    assert np.array_equal(layer.backward(3 * x), 3 * y)
    assert layer.forward(x, training=False) is x
    assert not np.array_equal(layer.forward(x, training=True), y)


def test_dropout_of_nothing_and_of_everything(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4))
    assert np.array_equal(cnn.Dropout(0).forward(x, training=True), x)
    assert not cnn.Dropout(1).forward(x, training=True).any()


def test_dropout_draws_alike_for_every_memory_layout(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    one, other = cnn.Dropout(rng=1), cnn.Dropout(rng=np.random.default_rng(1))
    assert np.array_equal(
        one.forward(x, training=True), other.forward(channels_last, training=True)
    )


def test_generators_have_names() -> None:
    model = cnn.Sequential(cnn.ReLU(), cnn.Residual(cnn.Sequential(cnn.Dropout(rng=5))))
    ((name, generator),) = model.named_generators().items()
    assert name == "1.body.0.rng"
    assert generator.random() == np.random.default_rng(5).random()


def test_residual_addition_by_literal(backend: str) -> None:
    layer = cnn.Residual(cnn.Sequential(cnn.ReLU()))
    x = np.array([[1.0, -2.0]])
    assert layer.forward(x, training=True).tolist() == [[2.0, -2.0]]
    assert layer.backward(np.array([[1.0, 1.0]])).tolist() == [[2.0, 1.0]]
    assert x.tolist() == [[1.0, -2.0]]


def test_padded_shortcut_by_literal() -> None:
    layer = cnn.PaddedShortcut(1, 2, stride=2)
    y = layer.forward(np.arange(9.0).reshape(1, 1, 3, 3), training=True)
    assert y.tolist() == [[[[0.0, 2.0], [6.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]]]
    grad_x = layer.backward(np.ones((1, 2, 2, 2)))
    assert grad_x.tolist() == [[[[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]]]


def test_parts_of_a_residual_layer_must_agree(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 2, 4, 4), dtype=np.float32)
    with kernels.use_backend("numpy"):
        with pytest.raises(kernels.ShapeError, match=r"body gives \(2, 3, 4, 4\) and the shortcut"):
            cnn.Residual(cnn.Conv2d(2, 3, 1)).forward(x, training=False)
        with pytest.raises(kernels.ShapeError, match=r"takes x \(N, 3, H, W\), got shape \(2, 2"):
            cnn.PaddedShortcut(3, 4).forward(x, training=False)

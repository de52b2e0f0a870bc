"""mnist_cnn, and what a model does for its user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from tests.cnn.toys import small_net, stripes


def test_mnist_cnn_is_as_designed() -> None:
    model = cnn.models.mnist_cnn()
    names = " ".join(type(layer).__name__ for layer in model.layers)
    assert names == (
        "Conv2d BatchNorm2d ReLU Conv2d BatchNorm2d ReLU MaxPool2d "
        "Flatten Linear BatchNorm1d ReLU Linear"
    )
    assert sum(parameter.data.size for parameter in model.parameters()) == 809_386
    assert model.dtype == np.float32


def test_a_seed_means_one_network() -> None:
    def weights(seed: int, dtype: str = "float32") -> np.ndarray:
        return cnn.models.mnist_cnn(seed=seed, dtype=dtype).state_dict()["8.weight"]

    assert np.array_equal(weights(3), weights(3))
    assert not np.array_equal(weights(3), weights(4))
    assert np.array_equal(weights(3), weights(3, "float64").astype(np.float32))


def test_other_shapes() -> None:
    model = cnn.models.mnist_cnn(input_shape=[3, 5, 2], num_classes=4, dtype=np.float64)
    with kernels.use_backend("numpy"):
        assert model.predict_proba(np.zeros((2, 3, 5, 2))).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_shape": (28, 28)}, ValueError, r"input_shape must be \(C, H, W\), got \(28, 28\)"),
        ({"input_shape": 28}, ValueError, r"input_shape must be \(C, H, W\), got 28"),
        ({"input_shape": (1, 1, 28)}, ValueError, r"input_shape\[1\] must be 2 or more, got 1"),
        ({"input_shape": (1, 2.0, 2)}, TypeError, r"input_shape\[1\] must be an integer"),
        ({"num_classes": 0}, ValueError, "num_classes must be 1 or more, got 0"),
        ({"seed": -1}, ValueError, "seed must be 0 or more, got -1"),
        ({"dtype": "float16"}, TypeError, "dtype must be float32 or float64, got 'float16'"),
    ],
)
def test_refused_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cnn.models.mnist_cnn(**arguments)


def test_unknown_model() -> None:
    with pytest.raises(
        ValueError, match=r"model must be one of 'mnist_cnn', 'lenet5', .*; got 'lenet'"
    ):
        cnn.models.create("lenet")


@pytest.mark.parametrize(
    ("model", "input_shape", "weights"),
    [
        ("lenet5", (1, 28, 28), 61_706),
        ("lenet5", (3, 32, 32), 62_006),
        ("lenet5", (1, 12, 13), 61_706 - 24 * 16 * 120),
        ("resnet20", (3, 32, 32), 269_722),
        ("resnet20", (1, 28, 28), 269_722 - 2 * 16 * 9),
        ("resnet20", (2, 1, 5), 269_722 - 16 * 9),
        ("mnist_cnn", (3, 32, 32), 809_386 + 2 * 16 * 9 + 32 * 128 * (256 - 196)),
    ],
)
def test_models_for_several_shapes(
    model: str, input_shape: tuple[int, ...], weights: int, rng: np.random.Generator
) -> None:
    built = cnn.models.create(model, input_shape=input_shape, dtype="float64")
    assert sum(parameter.data.size for parameter in built.parameters()) == weights
    trainer = cnn.Trainer(built, backend="numpy")
    x, y = rng.random((3, *input_shape)), np.array([0, 5, 9])
    first = trainer.step(x, y)
    assert trainer.step(x, y) < first
    assert built.predict_proba(x).shape == (3, 10)


@pytest.mark.parametrize("shape", [(1, 11, 28), (1, 28, 11)])
def test_lenet5_needs_twelve_pixels(shape: tuple[int, ...]) -> None:
    with pytest.raises(kernels.ShapeError, match=r"input_shape\[[12]\] must be 12 or more, got 11"):
        cnn.models.lenet5(shape)


def test_predictions(backend: str) -> None:
    model, x = small_net(), stripes(7).x
    probabilities = model.predict_proba(x)
    logits = model.forward(x, training=False)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert probabilities == pytest.approx(expected)
    assert model.predict_proba(x, batch_size=3) == pytest.approx(probabilities)
    assert model.predict(x).tolist() == expected.argmax(axis=1).tolist()


def test_predictions_use_running_statistics() -> None:
    model, x = small_net(), stripes(6).x
    with kernels.use_backend("numpy"):
        alone = np.concatenate([model.predict_proba(image[np.newaxis]) for image in x])
        assert model.predict_proba(x) == pytest.approx(alone)


def test_batches_bound_what_a_layer_sees() -> None:
    sizes: list[int] = []

    class Recording(cnn.Flatten):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            sizes.extend([len(x)] if len(x) else [])
            return super().forward(x, training=training)

    model = cnn.Sequential(Recording())
    with kernels.use_backend("numpy"):
        model.predict_proba(np.zeros((600, 2), np.float32))
        model.predict_proba(np.zeros((5, 2), np.float32), batch_size=2)
    assert sizes == [256, 256, 88, 2, 2, 1]


def test_no_images_give_no_predictions(backend: str) -> None:
    model = small_net()
    nothing = np.zeros((0, 1, 4, 4))
    assert model.predict_proba(nothing).shape == (0, 3)
    assert model.predict(nothing).shape == (0,)


def test_a_final_softmax_is_not_applied_twice() -> None:
    x = np.array([[0.0, 10.0]], np.float32)
    with kernels.use_backend("numpy"):
        bare = cnn.Sequential(cnn.ReLU()).predict_proba(x)
        assert cnn.Sequential(cnn.ReLU(), cnn.Softmax()).predict_proba(x) == pytest.approx(bare)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_either_float_is_converted_to_the_models(dtype: str) -> None:
    model = small_net(dtype=dtype)
    with kernels.use_backend("numpy"):
        for given in (np.float32, np.float64):
            assert model.predict_proba(stripes(2).x.astype(given)).dtype == dtype


def test_without_parameters_the_dtype_stays() -> None:
    model = cnn.Sequential(cnn.Flatten())
    assert model.forward(np.ones((1, 2)), training=False).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, bool])
def test_other_inputs_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match=r"float32 or float64 \(pixels scaled to \[0, 1\]\)"):
        small_net().predict(np.zeros((1, 1, 4, 4), dtype))


def test_wrong_shapes_and_sizes_are_refused() -> None:
    model = small_net()
    with pytest.raises(kernels.ShapeError, match="x must have 4 dimensions"):
        model.predict(np.zeros((4, 4)))
    with pytest.raises(kernels.ShapeError, match="got a single number"):
        model.predict(np.array(1.0))
    with pytest.raises(kernels.ShapeError, match="batch_size must be 1 or more, got 0"):
        model.predict(np.zeros((1, 1, 4, 4)), batch_size=0)

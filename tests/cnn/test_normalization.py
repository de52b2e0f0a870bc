"""Running statistics of batch-norm, by PyTorch's convention."""

from __future__ import annotations

import numpy as np
import pytest

import cnn
import kernels

X = np.array([[1.0, 2.0], [3.0, 6.0]])  # means 2 and 4; variances 1 and 4, unbiased 2 and 8


def test_running_statistics_by_literal(backend: str) -> None:
    layer = cnn.BatchNorm1d(2, dtype="float64")
    layer.forward(X, training=True)
    assert layer.running_mean == pytest.approx([0.2, 0.4])
    assert layer.running_var == pytest.approx([0.9 + 0.2, 0.9 + 0.8])
    layer.forward(X, training=True)
    assert layer.running_mean == pytest.approx([0.38, 0.76])
    assert layer.running_var == pytest.approx([1.19, 2.33])
    assert layer.num_batches_tracked == 2
    assert (layer.num_batches_tracked.shape, layer.num_batches_tracked.dtype) == ((), np.int64)


def test_images_count_every_pixel(backend: str) -> None:
    layer = cnn.BatchNorm2d(1, momentum=1.0, dtype="float64")
    layer.forward(np.array([1.0, 2.0, 3.0, 6.0]).reshape(1, 1, 2, 2), training=True)
    assert layer.running_mean == pytest.approx([3.0])
    assert layer.running_var == pytest.approx([14 / 3])


def test_training_normalises_by_the_batch_and_inference_by_the_running_statistics(
    backend: str,
) -> None:
    layer = cnn.BatchNorm1d(2, eps=0.0, dtype="float64")
    layer.load_state_dict(
        {
            "weight": np.array([1.0, 2.0]),
            "bias": np.array([0.0, 1.0]),
            "running_mean": np.array([1.0, 0.0]),
            "running_var": np.array([4.0, 9.0]),
            "num_batches_tracked": np.array(5),
        }
    )
    assert layer.forward(X, training=False) == pytest.approx(np.array([[0, 7 / 3], [1, 5]]))
    assert layer.forward(X, training=True) == pytest.approx(np.array([[-1, -1], [1, 3]]))
    assert layer.num_batches_tracked == 6


def test_constant_channels_have_running_variance_zero(backend: str) -> None:
    layer = cnn.BatchNorm1d(3, momentum=1.0)
    layer.forward(np.full((4, 3), [0.0, 5.0, 1e4], np.float32), training=True)
    assert layer.running_var == pytest.approx(np.zeros(3), abs=1e-10)
    assert (layer.running_var >= 0).all()


def test_infinite_input_does_not_warn() -> None:
    layer = cnn.BatchNorm1d(1, momentum=1.0, dtype="float64")
    with kernels.use_backend("numpy"), np.errstate(over="ignore", invalid="ignore"):
        layer.forward(np.array([[-1e200], [1e200]]), training=True)
    assert not np.isfinite(layer.running_var).any()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (cnn.BatchNorm1d(2), (2, 2, 3, 3), r"BatchNorm1d takes x \(N, C\) or \(N, C, L\)"),
        (cnn.BatchNorm2d(2), (2, 2), r"BatchNorm2d takes x \(N, C, H, W\), got shape \(2, 2\)"),
        (cnn.BatchNorm2d(2), (2, 3, 4, 4), r"weight must have shape \(3,\)"),
    ],
)
def test_wrong_shapes(layer: cnn.Layer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(kernels.ShapeError, match=message):
        layer.forward(np.ones(shape, np.float32), training=True)

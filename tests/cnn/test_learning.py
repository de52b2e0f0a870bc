"""Backends learn, and learn the same."""

from __future__ import annotations

import numpy as np
import pytest

import cnn
from tests.cnn.toys import small_net, stripes


def test_the_loss_falls(backend: str) -> None:
    model = small_net(dtype="float32")
    trainer = cnn.Trainer(model, optimizer=cnn.optim.SGD(lr=0.1), backend=backend)
    x, y = stripes(24)
    history = trainer.fit((x, y), stripes(12, seed=1), epochs=20, batch_size=8)
    assert history[-1]["train_loss"] < 0.3 * history[0]["train_loss"]
    assert history[-1]["test_accuracy"] >= 0.9
    assert (model.predict(x) == y).mean() >= 0.9


def three_losses(backend: str) -> list[float]:
    """Losses of three steps of mnist_cnn on three small images each."""
    rng = np.random.default_rng(1)
    trainer = cnn.Trainer(cnn.models.mnist_cnn((1, 6, 6), dtype="float64"), backend=backend)
    return [trainer.step(rng.random((3, 1, 6, 6)), rng.integers(10, size=3)) for _ in range(3)]


@pytest.fixture(scope="module")
def expected() -> list[float]:
    return three_losses("naive")


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_three_steps_agree_with_the_naive_backend(name: str, expected: list[float]) -> None:
    assert three_losses(name) == pytest.approx(expected, rel=0, abs=1e-9)
    assert len(set(expected)) == 3


@pytest.mark.slow
def test_fifty_steps_agree_between_numpy_and_numba() -> None:
    def first(name: str) -> list[float]:
        data = cnn.data.load("mnist-subset").train
        model = cnn.models.mnist_cnn(dtype="float64")
        trainer = cnn.Trainer(model, backend=name)
        return [
            trainer.step(data.x[start : start + 32], data.y[start : start + 32])
            for start in range(0, 50 * 32, 32)
        ]

    numpy_losses = first("numpy")
    assert numpy_losses[-1] < 0.5 * numpy_losses[0]
    assert first("numba") == pytest.approx(numpy_losses, rel=0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_real_digits_are_learnt(name: str) -> None:
    """A smoke bound for one seed, well clear of chance; not the goal for the mean over seeds."""
    data = cnn.data.load("mnist-subset")
    trainer = cnn.Trainer(cnn.models.mnist_cnn(), backend=name)
    history = trainer.fit(data.train, data.test, epochs=1)
    assert history[-1]["test_accuracy"] >= 0.93

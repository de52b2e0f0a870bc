"""The epochs around the training step: order, figures, rate, and what stops them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn.batches import mini_batches
from tests.cnn.runs import same_arrays
from tests.cnn.toys import small_net, stripes, trainer


class Recorder(cnn.Observer):
    def __init__(self) -> None:
        self.batches: list[cnn.BatchProgress] = []
        self.epochs: list[cnn.EpochMetrics] = []

    def on_batch(self, progress: cnn.BatchProgress) -> None:
        self.batches.append(progress)

    def on_epoch(self, metrics: cnn.EpochMetrics) -> None:
        self.epochs.append(metrics)


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [
        (8, 4, [4, 4]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (5, 4, [5]),
        (3, 2, [3]),
        (4, 4, [4]),
        (3, 8, [3]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_mini_batches(images: int, batch_size: int, sizes: list[int]) -> None:
    order = np.random.default_rng(0).permutation(images)
    batches = mini_batches(order, batch_size)
    assert [len(batch) for batch in batches] == sizes
    assert np.array_equal(np.concatenate(batches), order)


def test_history_is_what_was_seen() -> None:
    watcher = Recorder()
    history = trainer().fit(stripes(9), stripes(5), epochs=2, batch_size=4, callbacks=[watcher])
    assert watcher.epochs == history
    assert [metrics["epoch"] for metrics in history] == [1, 2]
    assert [(seen.epoch, seen.batch) for seen in watcher.batches] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    assert {(seen.epochs, seen.batches) for seen in watcher.batches} == {(2, 2)}
    for metrics, last in zip(history, watcher.batches[1::2], strict=True):
        assert set(metrics) == cnn.EpochMetrics.__required_keys__
        assert metrics["train_loss"] == last.loss
        assert metrics["train_accuracy"] == last.accuracy
        assert metrics["images_per_second"] == last.images_per_second
        assert metrics["seconds"] * metrics["images_per_second"] == pytest.approx(9)


def test_training_figures_are_weighted_by_batch_size() -> None:
    losses = []

    class Spy(cnn.Trainer):
        def _step(self, x: np.ndarray, y: np.ndarray, when: str) -> tuple[float, int]:
            loss, correct = super()._step(x, y, when)
            losses.append((len(x), loss, correct))
            return loss, correct

    spy = Spy(small_net(), backend="numpy")
    (metrics,) = spy.fit(stripes(9), stripes(3), epochs=1, batch_size=4)
    assert [size for size, _, _ in losses] == [4, 5]
    assert metrics["train_loss"] == pytest.approx(sum(n * loss for n, loss, _ in losses) / 9)
    assert metrics["train_accuracy"] == sum(correct for _, _, correct in losses) / 9


def test_the_test_figures_are_of_the_model_after_the_epoch() -> None:
    made = trainer()
    history = made.fit(stripes(9), stripes(5, seed=1), epochs=2, batch_size=4)
    tested = made.evaluate(stripes(5, seed=1))
    assert (history[-1]["test_loss"], history[-1]["test_accuracy"]) == tuple(tested.values())


def test_the_same_seed_gives_the_same_bits_twice(backend: str) -> None:
    def run(seed: int) -> tuple[list[float], dict[str, np.ndarray]]:
        made = cnn.Trainer(small_net(dtype="float32"), backend=backend, seed=seed)
        history = made.fit(stripes(10), stripes(4), epochs=2, batch_size=4)
        return [metrics["train_loss"] for metrics in history], made.model.state_dict()

    losses, state = run(5)
    again, same = run(5)
    assert losses == again
    assert same_arrays(state, same)
    assert losses != run(6)[0]


def test_each_epoch_takes_all_images_in_a_new_order() -> None:
    x, y = stripes(8)
    x[:, 0, 3, 3] = np.arange(8)
    seen: list[list[int]] = []

    class Recording(cnn.Flatten):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            if training:
                seen.append(x[:, 0, 3, 3].astype(int).tolist())
            return super().forward(x, training=training)

    model = cnn.Sequential(Recording(), cnn.Linear(16, 3, dtype="float64"))
    trainer(model).fit((x, y), stripes(3), epochs=3, batch_size=8)
    assert all(sorted(order) == list(range(8)) for order in seen)
    assert len({tuple(order) for order in seen}) == 3


def test_batches_of_one_train_where_there_is_no_batch_norm() -> None:
    model = cnn.Sequential(cnn.Flatten(), cnn.Linear(16, 3, rng=np.random.default_rng(0)))
    watcher = Recorder()
    trainer(model).fit(stripes(3), stripes(3), epochs=1, batch_size=1, callbacks=[watcher])
    assert len(watcher.batches) == 3


def test_augmentation_sees_training_images_alone() -> None:
    seen = []

    def darken(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return x * 0

    made = trainer(cnn.Sequential(cnn.Flatten(), cnn.Linear(16, 3, bias=False, dtype="float64")))
    (metrics,) = made.fit(stripes(9), stripes(5), epochs=1, batch_size=4, augment=darken)
    assert seen == [4, 5]
    assert metrics["train_loss"] == pytest.approx(math.log(3))
    assert metrics["test_loss"] != pytest.approx(math.log(3))


def test_the_schedule_changes_the_rate_of_each_step_and_gives_it_back() -> None:
    rates = []

    class Rates(cnn.Observer):
        def on_start(self, fit: cnn.Fit) -> None:
            self.fit = fit

        def on_batch(self, progress: cnn.BatchProgress) -> None:
            rates.append(self.fit.trainer.optimizer.lr)

    schedule = cnn.optim.Cosine(warmup=1)
    made = trainer(optimizer=cnn.optim.SGD(lr=0.5), schedule=schedule)
    made.fit(stripes(9), stripes(3), epochs=2, batch_size=4, callbacks=[Rates()])
    assert rates == [0.5 * schedule.factor(step, 4) for step in range(4)]
    assert rates == pytest.approx([0.25, 0.5, 0.375, 0.125])
    assert made.optimizer.lr == 0.5


def test_the_rate_comes_back_after_an_error() -> None:
    made = trainer(optimizer=cnn.optim.SGD(lr=1e300), schedule=cnn.optim.Cosine(warmup=1))
    with pytest.raises(cnn.NonFiniteLossError):
        made.fit(stripes(6), stripes(3), batch_size=2)
    assert made.optimizer.lr == 1e300


def test_divergence_stops_an_epoch_at_its_step() -> None:
    x, y = stripes(6)
    made = trainer(optimizer=cnn.optim.SGD(lr=1e300))
    with pytest.raises(cnn.NonFiniteLossError, match=r"^epoch 1, step 2 of 3: the loss is nan"):
        made.fit((x, y), stripes(3), batch_size=2)


def test_divergence_in_the_last_step_is_found_by_the_test() -> None:
    made = trainer(optimizer=cnn.optim.SGD(lr=1e300))
    with pytest.raises(cnn.NonFiniteLossError, match=r"^test after epoch 1: the loss is"):
        made.fit(stripes(6), stripes(3), epochs=1, batch_size=6)


X, Y = stripes(4)


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        ((X, Y[:3]), ValueError, r"train must be .* one N, got shapes \(4, 1, 4, 4\) and \(3,\)"),
        ((X, Y[:, np.newaxis]), ValueError, r"train must be .* and \(4, 1\)"),
        ((X[:1], Y[:1]), ValueError, "train must have 2 or more images, got 1"),
        ((X, Y.astype(float)), TypeError, "train's y must be of an integer dtype, got float64"),
        ((X, Y > 0), TypeError, "train's y must be of an integer dtype, got bool"),
        ((X, Y + 1), ValueError, "train's y must be from 0 to 2 to fit the model's outputs, got 3"),
        (
            (X, Y - 1),
            ValueError,
            "train's y must be from 0 to 2 to fit the model's outputs, got -1",
        ),
        ((X.tolist(), Y), TypeError, "train's x must be a NumPy array, got list"),
        ((X.astype(np.uint8), Y), TypeError, "x must be of float32 or float64"),
        ((X[:, 0], Y), ValueError, "x must have 4 dimensions"),
        ((X[:, :, :2], Y), ValueError, "weight must have"),
        (X, TypeError, r"train must be \(x, y\), images and labels; got ndarray"),
    ],
)
def test_refused_training_data(train: Any, error: type[Exception], message: str) -> None:
    made = trainer()
    before = made.model.state_dict()
    with pytest.raises(error, match=message):
        made.fit(train, (X, Y))
    assert same_arrays(before, made.model.state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be 1 or more, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be 1 or more, got 0"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
        ({"test": (X[:0], Y[:0])}, ValueError, "test must have 1 or more images, got 0"),
        ({"test": (X, Y + 5)}, ValueError, "test's y must be from 0 to 2"),
        ({"validation": (X, Y + 5)}, ValueError, "validation's y must be from 0 to 2"),
    ],
)
def test_refused_settings(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trainer().fit(**{"train": (X, Y), "test": (X, Y)} | arguments)


def test_a_warmup_as_long_as_the_training_is_refused_before_it() -> None:
    made = trainer(schedule=cnn.optim.Constant(warmup=6))
    before = made.model.state_dict()
    with pytest.raises(kernels.ShapeError, match="shorter than the training of 6 steps, got 6"):
        made.fit(stripes(9), stripes(3), epochs=3, batch_size=4)
    assert same_arrays(before, made.model.state_dict())

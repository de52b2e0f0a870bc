"""Updating within the backward pass gives the bits of updating after it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn import optim
from tests.cnn.networks import batch, build
from tests.cnn.runs import same_arrays

OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.SGD(0.05),
    "nesterov": lambda: optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: optim.Adam(0.01, weight_decay=0.01),
    "adamw": lambda: optim.AdamW(0.01),
}


def pair(
    name: str, make: Callable[[], optim.Optimizer], dtype: str = "float32"
) -> tuple[cnn.Trainer, cnn.Trainer, Any]:
    """Return trainers that update within and after, and a batch: clipping needs all gradients."""
    model, image = build(name, dtype)
    x, y = batch(image, 5)
    trainers = [
        cnn.Trainer(copy.deepcopy(model), optimizer=make(), backend="numba", clip_norm=limit)
        for limit in (None, 1e30)
    ]
    return trainers[0], trainers[1], (x.astype(dtype), y)


def assert_same(one: cnn.Trainer, other: cnn.Trainer) -> None:
    assert same_arrays(one.model.state_dict(), other.model.state_dict())
    named, others = one.model.named_parameters(), other.model.named_parameters()
    assert same_arrays(one.optimizer.state_dict(named), other.optimizer.state_dict(others))
    grads = [{n: p.grad for n, p in each.items()} for each in (named, others)]
    assert same_arrays(*grads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("name", ["mnist_cnn", "residuals"])
def test_the_bits_are_the_same(name: str, make: Callable[[], optim.Optimizer], dtype: str) -> None:
    """At a rate that changes from step to step, as a schedule changes it."""
    within, after, data = pair(name, make, dtype)
    for _ in range(4):
        for trainer in (within, after):
            trainer.optimizer.lr *= 0.9
        assert within.step(*data) == after.step(*data)
    assert_same(within, after)


class Signs(optim.SGD):
    """Has an update of its own."""

    def update(self, parameter: cnn.Parameter, grad: np.ndarray) -> None:
        parameter.data -= self.lr * np.sign(grad)


class Drifting(optim.SGD):
    """Has more numbers than kernels take."""

    def numbers(self) -> tuple[float, ...]:
        return (*super().numbers(), *range(7))


def wrap(trainer: cnn.Trainer) -> None:
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda parameters: [step(parameters), step(parameters)]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda t: setattr(t.optimizer, "momentum", 0.5),
    "weight decay": lambda t: setattr(t.optimizer, "weight_decay", 0.1),
    "another optimiser": lambda t: setattr(t, "optimizer", optim.AdamW(0.01)),
    "an update of its own": lambda t: setattr(t, "optimizer", Signs(0.01)),
    "too many numbers": lambda t: setattr(t, "optimizer", Drifting(0.05)),
    "a step of its own": wrap,
    "an integer for eps": lambda t: setattr(t.model.layers[1], "eps", 1),
    "another parameter": lambda t: setattr(
        t.model.layers[11], "weight", copy.copy(t.model.layers[11].weight)
    ),
    "steps so far": lambda t: setattr(t.optimizer, "steps", 7),
    "strided weights": lambda t: setattr(
        t.model.layers[0].weight, "data", np.ones((16, 1, 3, 6), "float32")[..., ::2]
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_between_steps_is_noticed(change: Callable[[Any], Any]) -> None:
    within, after, data = pair("mnist_cnn", lambda: optim.SGD(0.05, momentum=0.9))
    for trainer in (within, after):
        trainer.step(*data)
        trainer.step(*data)
        before = trainer.model.state_dict()
        change(trainer)
    for _ in range(2):
        assert within.step(*data) == after.step(*data)
    assert_same(within, after)
    assert not same_arrays(before, within.model.state_dict())


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[:]], ids=["array", "view"])
def test_weights_that_two_layers_share_are_updated_after_both(view: Callable[..., Any]) -> None:
    trainers = []
    for limit in (None, 1e30):
        layers = [cnn.Linear(512, 512, rng=0), cnn.Linear(512, 512, rng=1)]
        layers[1].weight.data = view(layers[0].weight.data)
        model = cnn.Sequential(cnn.Flatten(), *layers)
        trainers.append(cnn.Trainer(model, backend="numba", fuse=True, clip_norm=limit))
    x, y = batch((1, 16, 32), 5)
    for _ in range(2):
        losses = [trainer.step(x.astype("float32"), y) for trainer in trainers]
        assert losses[0] == losses[1]
    assert_same(*trainers)


def test_batches_of_two_sizes_and_clipping_now_and_then() -> None:
    within, after, (x, y) = pair("mnist_cnn", OPTIMIZERS["nesterov"])
    for size, limit in ((5, None), (3, None), (5, 1e30), (3, 1e30), (5, None), (3, None)):
        within.clip_norm = limit
        assert within.step(x[:size], y[:size]) == after.step(x[:size], y[:size])
    assert_same(within, after)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_first_step_that_breaks_off_leaves_no_trace(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layers' weights are updated before the first one's gradient is there."""
    within, _, data = pair("mnist_cnn", OPTIMIZERS["adam"])
    named = within.model.named_parameters()
    before = within.model.state_dict(), within.optimizer.state_dict(named)

    def breaking(*_: Any, **__: Any) -> None:
        assert not same_arrays(before[0], within.model.state_dict())
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("cnn.fusion.stages.fused.conv_backward", breaking)
        with pytest.raises(error):
            within.step(*data)
    assert same_arrays(before[0], within.model.state_dict())
    assert same_arrays(before[1], within.optimizer.state_dict(named))
    assert within.step(*data) > 0


def test_a_step_that_fails_changes_no_weights_and_counts_no_step() -> None:
    within, _, (x, y) = pair("mnist_cnn", OPTIMIZERS["adam"])
    within.step(x, y)
    before = within.model.state_dict()
    with pytest.raises(cnn.NonFiniteLossError):
        within.step(x * np.float32(np.inf), y)
    assert same_arrays(before, within.model.state_dict())
    assert within.optimizer.steps == 1


@pytest.mark.parametrize("kind", ["uint8", "int32", ">i8", "uint64"])
def test_labels_of_any_integers_are_learnt(kind: str) -> None:
    """Also of other ones from step to step, which the captured loss is not told of by name."""
    within, after, (x, y) = pair("mnist_cnn", OPTIMIZERS["sgd"])
    for number in range(3):
        labels = np.roll(y, number)
        assert within.step(x, labels.astype(kind)) == after.step(x, labels)
    assert_same(within, after)


def test_a_label_too_large_leaves_no_trace_between_captured_steps() -> None:
    within, after, (x, y) = pair("mnist_cnn", OPTIMIZERS["adam"])
    for number in range(4):
        assert within.step(x, y) == after.step(x, y)
        with pytest.raises(kernels.ShapeError, match="labels must be from 0 to"):
            within.step(x, y + (10 if number % 2 else -10))
    assert_same(within, after)


def test_outputs_that_are_no_logits_are_refused() -> None:
    model = cnn.Sequential(cnn.Conv2d(1, 3, 3))
    with pytest.raises(kernels.ShapeError, match="logits must"):
        cnn.Trainer(model, backend="numba").step(np.ones((2, 1, 6, 6), "float32"), np.zeros(2, int))

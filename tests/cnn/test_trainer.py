"""The training step, the test, and what a trainer refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from tests.cnn.runs import same_arrays
from tests.cnn.toys import small_net, stripes, trainer


def test_a_step_is_forward_backward_and_update(backend: str) -> None:
    x, y = stripes(6)
    by_hand, model = small_net(), small_net()
    loss, grad_logits = kernels.softmax_cross_entropy(by_hand.forward(x, training=True), y)
    by_hand.backward(grad_logits)
    for parameter in by_hand.parameters():
        parameter.data -= 0.1 * parameter.grad
    made = cnn.Trainer(model, optimizer=cnn.optim.SGD(lr=0.1), backend=backend, fuse=False)
    assert made.step(x, y) == loss
    assert same_arrays(model.state_dict(), by_hand.state_dict())


@pytest.mark.parametrize("fuse", [True, False])
def test_the_trainers_backend_is_used_and_left_again(fuse: bool) -> None:
    seen = set()

    class Recording(cnn.Flatten):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            if len(x):
                seen.add(kernels.get_backend())
            return super().forward(x, training=training)

    model = cnn.Sequential(Recording(), cnn.Linear(16, 3, dtype="float64"))
    made = cnn.Trainer(model, backend="naive", fuse=fuse)
    with kernels.use_backend("numpy"):
        made.step(*stripes(3))
        made.evaluate(stripes(3))
        made.fit(stripes(3), stripes(3), epochs=1)
        assert kernels.get_backend() == "numpy"
    assert seen == {"naive"}


def test_evaluation_is_that_of_inference(backend: str) -> None:
    model, (x, y) = small_net(), stripes(7)
    made = cnn.Trainer(model, backend=backend)
    made.fit((x, y), (x, y), epochs=1, batch_size=4)
    before = model.state_dict()
    probabilities = model.predict_proba(x)
    for batch_size in (256, 3):
        result = made.evaluate((x, y), batch_size=batch_size)
        assert result["loss"] == pytest.approx(-np.log(probabilities[np.arange(7), y]).mean())
        assert result["accuracy"] == (probabilities.argmax(axis=1) == y).mean()
    assert same_arrays(before, model.state_dict())


def test_a_non_finite_loss_leaves_no_trace(backend: str) -> None:
    model = small_net()
    made = cnn.Trainer(model, backend=backend)
    x, y = stripes(6)
    made.step(x, y)
    before = model.state_dict()
    x[2, 0, 1, 1] = np.nan
    with pytest.raises(cnn.NonFiniteLossError, match=r"^step 2: the loss is nan; a lower learning"):
        made.step(x, y)
    assert same_arrays(before, model.state_dict())
    assert math.isfinite(made.step(*stripes(6)))


def test_wrong_labels_leave_no_trace() -> None:
    made = trainer()
    before = made.model.state_dict()
    with pytest.raises(kernels.ShapeError, match="labels must be from 0 to 2"):
        made.step(stripes(2).x, np.array([0, 3]))
    assert same_arrays(before, made.model.state_dict())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_augmentation_that_adds_images_is_refused(batch_size: int, backend: str) -> None:
    made = cnn.Trainer(small_net(), backend=backend)
    data = stripes(4)
    with pytest.raises(kernels.ShapeError, match="labels must have shape"):
        made.fit(data, data, 1, batch_size, augment=lambda images: np.concatenate([images, images]))


def test_a_last_layer_of_another_dtype_is_learnt(backend: str) -> None:
    class Wide(cnn.Layer):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            return x.astype("float64")

        def backward(self, grad_y: np.ndarray) -> np.ndarray:
            return grad_y.astype("float32")

    x, y = stripes(6)
    losses = []
    for fuse in (True, False):
        layers = cnn.Flatten(), cnn.Linear(16, 3, rng=0), Wide()
        made = cnn.Trainer(cnn.Sequential(*layers), backend=backend, fuse=fuse)
        losses.append([made.step(x.astype("float32"), y) for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_failed_step_takes_dropouts_draw_back() -> None:
    model = cnn.Sequential(*small_net().layers[:-1], cnn.Dropout(rng=1), small_net().layers[-1])
    made = trainer(model)
    (before,) = (g.bit_generator.state for g in model.named_generators().values())
    with pytest.raises(kernels.ShapeError):
        made.step(stripes(2).x, np.array([0, 3]))
    (after,) = (g.bit_generator.state for g in model.named_generators().values())
    assert after == before


def test_clipping_bounds_a_step() -> None:
    x, y = stripes(6)
    moved = {}
    for limit in (None, 1e-3, 1e-4):
        made = trainer(optimizer=cnn.optim.SGD(lr=1.0), clip_norm=limit)
        before = [parameter.data.copy() for parameter in made.model.parameters()]
        made.step(x, y)
        after = made.model.parameters()
        squares = [((p.data - old) ** 2).sum() for p, old in zip(after, before, strict=True)]
        moved[limit] = math.sqrt(sum(squares))
    assert moved[None] > 0.01
    assert moved[1e-3] == pytest.approx(1e-3, rel=0.01)
    assert moved[1e-4] == pytest.approx(1e-4, rel=0.02)


def test_warm_up_changes_nothing(backend: str) -> None:
    x, y = stripes(4)
    warm, cold = (cnn.Trainer(small_net(), backend=backend) for _ in range(2))
    before = warm.model.state_dict()
    assert warm.warm_up(x, y) > 0
    assert same_arrays(warm.model.state_dict(), before)
    assert [warm.step(x, y), warm.step(x, y)] == [cold.step(x, y), cold.step(x, y)]


def test_refused_trainers() -> None:
    with pytest.raises(
        kernels.UnknownBackendError, match=r"'naive', 'numpy', 'numba'.*; got 'cuda'"
    ):
        cnn.Trainer(small_net(), backend="cuda")
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        trainer(seed=-1)
    with pytest.raises(ValueError, match="model must end in logits, but it ends in Softmax"):
        trainer(cnn.Sequential(cnn.Linear(2, 2), cnn.Softmax()))


def test_a_model_or_optimizer_of_another_kind() -> None:
    with pytest.raises(TypeError, match=r"^model must be a cnn.Sequential, got"):
        cnn.Trainer(cnn.Flatten())
    with pytest.raises(TypeError, match=r"^optimizer must be one of cnn.optim, got 'sgd'"):
        cnn.Trainer(small_net(), optimizer="sgd")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"schedule": "cosine"}, TypeError, "schedule must be one of cnn.optim, got 'cosine'"),
        ({"clip_norm": 0}, ValueError, "clip_norm must be finite and above 0, got 0"),
        ({"clip_norm": "x"}, TypeError, "clip_norm must be a number, got 'x'"),
    ],
)
def test_refused_schedules_and_limits(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        trainer(**arguments)

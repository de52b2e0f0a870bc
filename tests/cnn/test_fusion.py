"""Fused training and prediction are those of the layers one by one."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn.fusion import memory, program
from cnn.fusion.memory import Block, Buffer
from cnn.fusion.programs import MOST_PROGRAMS, Programs
from tests.cnn.networks import NETWORKS, Square, batch, build
from tests.cnn.toys import small_net, stripes
from tests.kernels import broken

MODELS = [*NETWORKS, "mnist_cnn", "lenet5", "resnet20"]
FAST = ["numpy", pytest.param("numba", marks=pytest.mark.compiled)]


def trainers(
    name: str, backend: str, dtype: str = "float64", **arguments: Any
) -> tuple[cnn.Trainer, cnn.Trainer, tuple[int, ...]]:
    """Return a fused and an unfused trainer of the same network."""
    model, image = build(name, dtype)
    pair = [
        cnn.Trainer(copy.deepcopy(model), backend=backend, fuse=fuse, **arguments)
        for fuse in (True, False)
    ]
    return pair[0], pair[1], image


def assert_same_gradients(one: cnn.Sequential, other: cnn.Sequential, tolerance: float) -> None:
    """Compare on the scale of the largest gradient: a bias before batch-norm has none."""
    grads = [{n: p.grad for n, p in m.named_parameters().items()} for m in (one, other)]
    largest = max(float(abs(g).max()) for g in grads[1].values())
    for name, grad in grads[0].items():
        np.testing.assert_allclose(
            grad, grads[1][name], rtol=0, atol=tolerance * largest, err_msg=name
        )


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", MODELS)
def test_fused_and_unfused_training_agree(name: str, backend: str) -> None:
    """Losses, the first step's gradients, all state, then predictions."""
    fused, unfused, image = trainers(name, backend, optimizer=cnn.optim.SGD(0.05, 0.9))
    for step in range(5):
        x, y = batch(image, 5 if step != 2 else 3, seed=step)  # a smaller batch in between
        assert fused.step(x, y) == pytest.approx(unfused.step(x, y), rel=0, abs=1e-9)
        if step == 0:
            assert_same_gradients(fused.model, unfused.model, 1e-10)
    for key, array in fused.model.state_dict().items():
        np.testing.assert_allclose(array, unfused.model.state_dict()[key], atol=1e-9, err_msg=key)
    data = batch(image, 7, seed=9)
    assert fused.evaluate(data, 3) == pytest.approx(unfused.evaluate(data, 7), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist_cnn", "lenet5", "resnet20"])
def test_fifty_steps_agree(name: str) -> None:
    fused, unfused, image = trainers(name, "numpy")
    for step in range(50):
        x, y = batch(image, 4, seed=step)
        assert fused.step(x, y) == pytest.approx(unfused.step(x, y), rel=0, abs=1e-9)


def test_naive_composition_trains_as_its_layers() -> None:
    fused, unfused = (cnn.Trainer(small_net(), backend="naive", fuse=f) for f in (True, False))
    for _ in range(2):
        losses = [trainer.step(*stripes(4)) for trainer in (fused, unfused)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-12)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", ["mnist_cnn", "residuals"])
def test_float32_gradients_of_one_step(name: str, backend: str) -> None:
    """Within 2e-5 of each tensor's scale; biases before batch-norm, which have none, left out."""
    fused, unfused, image = trainers(name, backend, "float32")
    x, y = batch(image, 6)
    for trainer in (fused, unfused):
        trainer.step(x.astype("float32"), y)
    others = unfused.model.named_parameters()
    for key, parameter in fused.model.named_parameters().items():
        wanted = others[key].grad
        assert parameter.grad is not None
        assert wanted is not None
        if abs(wanted).max() > 1e-4:
            np.testing.assert_allclose(
                parameter.grad, wanted, rtol=0, atol=2e-5 * abs(wanted).max(), err_msg=key
            )


@pytest.fixture
def fusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A backend that gains by fusion, as the current one: models fuse without being told to."""
    monkeypatch.setattr("kernels.dispatch._registered", {})
    kernels.register_backend("fusing", broken.fusing())
    with kernels.use_backend("fusing"):
        yield "fusing"


def kinds(model: cnn.Sequential, image: tuple[int, ...], *, training: bool = True) -> list[str]:
    with kernels.use_backend("numpy"), Programs(model, training=training).running((2, *image)) as p:
        return [type(stage).__name__.removesuffix("Stage") for stage in p.stages]


def test_what_is_fused_in_known_networks() -> None:
    mnist = ["Conv", "Conv", "Join", "Flatten", "Linear", "Norm", "Join", "Linear"]
    assert kinds(*build("mnist_cnn")) == mnist
    resnet = kinds(*build("resnet20"))
    assert resnet[:5] == ["Conv", "Join", "Conv", "Conv", "Join"]
    assert resnet.count("Conv") == 19
    assert resnet.count("Join") == 10  # the first, and one for each of nine blocks
    assert resnet.count("Shortcut") == 2
    lenet = ["Conv", "Join", "AvgPool"] * 2 + ["Flatten"] + ["Linear", "Join"] * 2 + ["Linear"]
    assert kinds(*build("lenet5")) == lenet


def test_prediction_computes_no_batch_norm_by_itself() -> None:
    for name in MODELS:
        assert "Norm" not in kinds(*build(name), training=False)


def test_layers_of_other_classes_run_by_themselves(fusing: str) -> None:
    class LoudReLU(cnn.ReLU):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            return 2 * super().forward(x, training=training)

    model = cnn.Sequential(cnn.Flatten(), LoudReLU())
    logits = np.array([[0.5, -1.0]])
    assert model.predict_proba(logits) == pytest.approx(kernels.softmax(np.array([[1.0, 0.0]])))


def test_a_model_of_another_class_is_left_alone(fusing: str) -> None:
    class Doubled(cnn.Sequential):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            return 2 * super().forward(x, training=training)

    layers = small_net().layers
    x, y = stripes(6)
    plain, doubled = (cnn.Trainer(m(*layers), fuse=True) for m in (cnn.Sequential, Doubled))
    assert plain.evaluate((x, y))["loss"] != doubled.evaluate((x, y))["loss"]


def test_memory_does_not_change_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers that share memory must not live at once: without sharing, the same bits come."""

    def side_by_side(buffers: Any) -> int:
        offset = 0
        for buffer in buffers:
            buffer.offset, offset = offset, offset + buffer.nbytes
        return offset

    for name in MODELS:
        shared, _, image = trainers(name, "numpy")
        apart = cnn.Trainer(copy.deepcopy(shared.model), backend="numpy", fuse=True)
        for step in range(2):
            data = batch(image, seed=step)
            loss = shared.step(*data)
            with monkeypatch.context() as patch:
                patch.setattr(program, "place", side_by_side)
                assert apart.step(*data) == loss, name
        for key, array in shared.model.state_dict().items():
            assert np.array_equal(array, apart.model.state_dict()[key]), (name, key)
        assert shared._programs.nbytes < apart._programs.nbytes


def test_what_an_earlier_step_left_is_never_read() -> None:
    for name in MODELS:
        clean, _, image = trainers(name, "numpy")
        dirty = cnn.Trainer(copy.deepcopy(clean.model), backend="numpy", fuse=True)
        data = batch(image)
        losses = []
        for trainer in (clean, dirty):
            losses.append(trainer.step(*data))
            if trainer is dirty:
                trainer._programs._block._bytes.fill(255)  # NaN in every float
            losses.append(trainer.step(*data))
        assert losses[:2] == losses[2:], name


def test_steady_steps_reuse_all_large_arrays() -> None:
    trainer, _, image = trainers("mnist_cnn", "numpy")
    trainer.step(*batch(image, 8))
    size = trainer._programs.nbytes
    grads = {name: p.grad for name, p in trainer.model.named_parameters().items()}
    for images in (8, 3, 8):
        trainer.step(*batch(image, images))
        assert trainer._programs.nbytes == size
        for name, parameter in trainer.model.named_parameters().items():
            assert parameter.grad is grads[name]


def test_only_so_many_batch_shapes_are_kept() -> None:
    trainer, _, image = trainers("mnist_cnn", "numpy")
    for images in range(2, MOST_PROGRAMS + 4):
        trainer.step(*batch(image, images))
    assert len(trainer._programs._programs) <= MOST_PROGRAMS


def _other_window(model: cnn.Sequential) -> None:
    model.layers[0].dilation = model.layers[0].padding = 2  # type: ignore[attr-defined]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "inserted layer": lambda m: m.layers.insert(3, cnn.Dropout(0.5, rng=1)),
    "replaced layer": lambda m: m.layers.__setitem__(2, Square()),
    "window": _other_window,
    "weights in place": lambda m: m.layers[0].weight.data.__imul__(3.0),
    "new array": lambda m: setattr(m.layers[0].weight, "data", m.layers[0].weight.data * 0.5),
    "setting": lambda m: setattr(m.layers[1], "eps", 0.5),
    "running statistics": lambda m: m.layers[1].running_var.__imul__(4.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_of_the_model_are_noticed(change: Callable[[cnn.Sequential], Any]) -> None:
    fused, unfused, image = trainers("mnist_cnn", "numpy")
    data = batch(image)
    before = unfused.evaluate(data)["loss"]
    for trainer in (fused, unfused):
        trainer.evaluate(data)
        trainer.step(*data)
        change(trainer.model)
    wanted = unfused.evaluate(data)
    assert wanted["loss"] != before
    assert fused.evaluate(data) == pytest.approx(wanted, abs=1e-9)
    assert fused.step(*data) == pytest.approx(unfused.step(*data), abs=1e-9)


def test_weights_of_another_shape_or_dtype_are_refused() -> None:
    for array in (np.ones((16, 1, 3, 3), "float32"), np.ones((15, 1, 3, 3))):
        fused, _, image = trainers("mnist_cnn", "numpy")
        fused.step(*batch(image))
        before = fused.model.state_dict()
        fused.model.layers[0].weight.data = array  # type: ignore[attr-defined]
        with pytest.raises((kernels.ShapeError, TypeError), match=r"must (have|be of)"):
            fused.step(*batch(image))
        assert np.array_equal(before["1.running_mean"], fused.model.state_dict()["1.running_mean"])


def test_a_layer_that_comes_twice_is_an_error_as_ever() -> None:
    conv = cnn.Conv2d(2, 2, 3, padding=1, dtype="float64")
    model = cnn.Sequential(conv, conv, cnn.Flatten(), cnn.Linear(128, 3, dtype="float64"))
    with pytest.raises(RuntimeError, match="each one serves one backward"):
        cnn.Trainer(model, backend="numpy", fuse=True).step(*batch((2, 8, 8)))


def test_one_value_per_channel_is_refused_as_ever() -> None:
    model = cnn.Sequential(
        cnn.Conv2d(1, 2, 4, dtype="float64"),
        cnn.BatchNorm2d(2, dtype="float64"),
        cnn.Flatten(),
        cnn.Linear(2, 3, dtype="float64"),
    )
    x, y = stripes(1)
    for fuse in (True, False):
        with pytest.raises(
            kernels.ShapeError, match=r"2 or more values per channel .* \(1, 2, 1, 1\)"
        ):
            cnn.Trainer(model, backend="numpy", fuse=fuse).step(x, y)


class Calling(cnn.Layer):
    """Runs something in the middle of a pass."""

    def __init__(self, call: Callable[[], Any] = lambda: None) -> None:
        self.call = call

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        if len(x):
            self.call()
        return x

    def backward(self, grad_y: np.ndarray) -> np.ndarray:
        return grad_y


def test_a_step_inside_a_step_is_refused_and_leaves_no_trace() -> None:
    inner = Calling()
    model = cnn.Sequential(*small_net().layers, inner)
    trainer = cnn.Trainer(model, backend="numpy", fuse=True)
    inner.call = lambda: trainer.step(*stripes(3))
    before = model.state_dict()
    with pytest.raises(RuntimeError, match="the model is computing another batch"):
        trainer.step(*stripes(4))
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    inner.call = lambda: None
    assert trainer.step(*stripes(4)) > 0


def test_predictions_in_several_threads_at_once(fusing: str) -> None:
    """Each on memory of its own, though another is in the middle of its pass."""
    together = threading.Barrier(3)
    model = cnn.Sequential(*small_net().layers, Calling(together.wait))
    images = [stripes(4 + number, seed=number).x for number in range(3)]
    found: dict[int, np.ndarray] = {}

    def predict(number: int) -> None:
        with kernels.use_backend(fusing):
            found[number] = model.predict_proba(images[number])

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.layers.pop()
    for number, x in enumerate(images):
        assert np.array_equal(found[number], model.predict_proba(x))


def test_copies_and_pickles_predict_on_their_own(fusing: str) -> None:
    model, x = small_net(), stripes(5).x
    wanted = model.predict_proba(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.predict_proba(x), wanted)
        other.layers[0].weight.data *= 2
        assert not np.array_equal(other.predict_proba(x), wanted)
    assert np.array_equal(model.predict_proba(x), wanted)


def test_copies_and_pickles_of_a_trainer_train_on_their_own(fusing: str) -> None:
    trainer = cnn.Trainer(small_net())
    trainer.step(*stripes(5))
    others = copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))
    losses = [each.step(*stripes(4)) for each in (*others, trainer)]
    assert losses[0] == losses[1] == losses[2]
    assert others[0].model is not trainer.model
    states = [each.model.state_dict() for each in (*others, trainer)]
    for name, array in states[2].items():
        assert np.array_equal(array, states[0][name])
        assert np.array_equal(array, states[1][name])


def test_predictions_last(fusing: str) -> None:
    model = small_net()
    first = model.predict_proba(stripes(4).x)
    kept = first.copy()
    model.predict_proba(stripes(4, seed=1).x)
    assert np.array_equal(first, kept)


def test_fusion_is_chosen_where_it_gains(fusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A composition is used only if it is asked for."""
    used = []
    forward = program.Program.forward

    def recording(self: program.Program, x: np.ndarray) -> np.ndarray:
        used.append(kernels.get_backend())
        return forward(self, x)

    monkeypatch.setattr(program.Program, "forward", recording)
    data = stripes(4)
    for name, fuse in [("numpy", None), ("fusing", False), ("numpy", True), ("fusing", None)]:
        trainer = cnn.Trainer(small_net(), backend=name, fuse=fuse)
        trainer.step(*data)
        trainer.evaluate(data)
    assert used == ["numpy", "numpy", "fusing", "fusing"]
    small_net().predict(data.x)
    assert used[4:] == ["fusing"]


def test_backends_without_fused_operations_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.dispatch._registered", {})
    kernels.register_backend("plain", broken.broken())
    plain, numpy = (
        cnn.Trainer(small_net(), backend=name, fuse=False) for name in ("plain", "numpy")
    )
    fused = cnn.Trainer(small_net(), backend="plain")
    losses = [trainer.step(*stripes(5)) for trainer in (plain, numpy, fused)]
    assert losses[0] == losses[1] == losses[2]


def test_buffers_that_live_at_once_lie_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        buffers = []
        for _ in range(rng.integers(1, 30)):
            buffer = Buffer((int(rng.integers(0, 200)),), np.dtype("float32"))
            first, length = rng.integers(0, 20, 2)
            buffer.use(first)
            buffer.use(first + length)
            buffers.append(buffer)
        size = memory.place(buffers)
        alive = [sum(b.nbytes for b in buffers if b.first <= t <= b.last) for t in range(40)]
        assert max(alive) <= size <= sum(b.nbytes for b in buffers)
        for i, one in enumerate(buffers):
            for other in buffers[:i]:
                in_time = one.first <= other.last and other.first <= one.last
                in_space = (
                    one.offset < other.offset + other.nbytes
                    and other.offset < one.offset + one.nbytes
                )
                assert not (in_time and in_space and one.nbytes and other.nbytes)


@pytest.mark.parametrize("name", ["naive", "numpy", "numba"])
def test_views_have_the_backends_layout_and_alignment(name: str) -> None:
    with kernels.use_backend(name):
        wanted = kernels.conv2d(np.ones((3, 4, 5, 6)), np.ones((7, 4, 1, 1)))
    block, buffer = Block(), Buffer((3, 7, 5, 6), np.dtype("float64"))
    buffer.use(0)
    block.grow(memory.place([buffer]) + 64)
    view = block.view(buffer, memory.memory_order(wanted))
    assert view.strides == wanted.strides
    assert view.ctypes.data % 64 == 0

"""The memory of fused passes: planned, shared in time, used again, and private to each model."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn.fusion import memory, program
from cnn.fusion.memory import Block, Buffer
from cnn.fusion.programs import MOST_PROGRAMS
from kernels.layout import memory_order
from tests.cnn.fusing import MODELS, Calling, trainers
from tests.cnn.networks import batch
from tests.cnn.runs import same_arrays
from tests.cnn.toys import small_net, stripes


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
        assert same_arrays(shared.model.state_dict(), apart.model.state_dict()), name
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
    assert same_arrays(states[0], states[2])
    assert same_arrays(states[1], states[2])


def test_predictions_last(fusing: str) -> None:
    model = small_net()
    first = model.predict_proba(stripes(4).x)
    kept = first.copy()
    model.predict_proba(stripes(4, seed=1).x)
    assert np.array_equal(first, kept)


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
    view = block.view(buffer, memory_order(wanted))
    assert view.strides == wanted.strides
    assert view.ctypes.data % 64 == 0

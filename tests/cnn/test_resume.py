"""A training that was broken off and continued gives the bits of one that was not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import cnn
from cnn import optim
from cnn.callbacks import EarlyStopping
from cnn.callbacks.selection import best_epoch
from tests.cnn.runs import Halt, Run, assert_same, noisy_net, same_arrays, timeless

# 15 images in batches of 4 are 4 steps, so 3 epochs are 12.


@pytest.mark.parametrize("halt", range(1, 13))
def test_from_any_step(path: Path, halt: int) -> None:
    run = Run(path, schedule=optim.Cosine(warmup=2), clip_norm=0.5)
    whole = run()
    path.unlink()
    assert_same(whole, run.broken_off(halt))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("halts", [(5, 5), (1, 1, 1, 1, 1), (4, 4, 1), (11, 2)])
def test_from_several_steps_and_old_checkpoints(
    path: Path, halts: tuple[int, ...], fuse: bool
) -> None:
    run = Run(path, every_steps=3, fuse=fuse)
    whole = run()
    path.unlink()
    assert_same(whole, run.broken_off(*halts))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optim.SGD(0.05),
        lambda: optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda: optim.Adam(0.01),
        lambda: optim.AdamW(0.01),
    ],
)
@pytest.mark.parametrize(
    "schedule", [optim.Constant(), optim.Step(3), optim.OneCycle()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_every_optimizer(
    path: Path, optimizer: Callable[[], optim.Optimizer], schedule: optim.Schedule, dtype: str
) -> None:
    run = Run(path, model=lambda: noisy_net(dtype), optimizer=optimizer, schedule=schedule)
    whole = run()
    path.unlink()
    assert_same(whole, run.broken_off(3, 6))


def test_on_every_backend(path: Path, backend: str) -> None:
    run = Run(path, backend=backend)
    whole = run()
    path.unlink()
    assert_same(whole, run.broken_off(6))


def test_on_another_backend(path: Path, fast_backend: str) -> None:
    whole, history = Run(path, backend="naive")()
    path.unlink()
    with pytest.raises(Halt):
        Run(path, backend="naive")(halt=6)
    other, continued = Run(path, backend=fast_backend)(resume=True)
    for name, array in whole.model.state_dict().items():
        assert other.model.state_dict()[name] == pytest.approx(array, rel=1e-9, abs=1e-9)
    assert timeless(continued)[0] == timeless(history)[0]
    assert continued[2]["train_loss"] == pytest.approx(history[2]["train_loss"])


def test_early_stopping_continues(path: Path) -> None:
    def stopping() -> list[cnn.Observer]:
        return [EarlyStopping(2, "validation_accuracy")]

    run = Run(path, callbacks=stopping, epochs=20, optimizer=lambda: optim.SGD(0.3))
    whole = run()
    assert len(whole[1]) < 20
    path.unlink()
    steps = 4 * len(whole[1])
    assert_same(whole, run.broken_off(5, steps - 9, 3))
    assert_same(whole, run(resume=True))  # the last one is at the end


def test_without_a_checkpoint_training_starts(path: Path) -> None:
    whole = Run(path)()
    path.unlink()
    assert_same(whole, Run(path)(resume=True))


def test_a_finished_training_is_finished(path: Path) -> None:
    whole = Run(path)()
    before = load_file(path)
    assert_same(whole, Run(path)(resume=True))
    assert same_arrays(before, load_file(path))


def test_more_epochs_may_follow_where_the_schedule_does_not_mind(path: Path) -> None:
    whole = Run(path, epochs=5)()
    Run(path, epochs=3)()
    assert_same(whole, Run(path, epochs=5)(resume=True))


def test_more_epochs_follow_the_last_one_not_the_best(path: Path) -> None:
    def stopping() -> list[cnn.Observer]:
        return [EarlyStopping(100, "validation_accuracy")]

    whole = Run(path, epochs=8, callbacks=stopping)()
    shorter, history = Run(path, epochs=6, callbacks=stopping)()
    assert best_epoch(history, "validation_accuracy") < 6  # whose weights the model has now
    assert_same(whole, Run(path, epochs=8, callbacks=stopping)(resume=True))
    assert_same((shorter, history), Run(path, epochs=6, callbacks=stopping)())


def test_the_learning_rate_is_left_as_it_was(path: Path) -> None:
    trainer, _ = Run(path, schedule=optim.Cosine())()
    assert trainer.optimizer.lr == 0.05
    with pytest.raises(Halt):
        Run(path, schedule=optim.Cosine())(halt=7)


class PressCtrlCAtTheEnd(cnn.Observer):
    def on_end(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_after_the_last_step_is_not_lost(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(path, callbacks=lambda: [PressCtrlCAtTheEnd()])()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class PressCtrlC(cnn.Observer):
    def __init__(self, batch: tuple[int, int], presses: int = 1) -> None:
        self.batch, self.presses = batch, presses

    def on_batch(self, progress: cnn.BatchProgress) -> None:
        if (progress.epoch, progress.batch) == self.batch:
            for _ in range(self.presses):
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_saves_and_leaves(path: Path) -> None:
    whole = Run(path)()
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        Run(path, callbacks=lambda: [PressCtrlC((2, 2))], every_steps=100)()
    with safe_open(path, framework="np") as file:
        position = json.loads(file.metadata()["cnn_kernels"])["position"]
    assert (position["epoch"], position["batch"]) == (2, 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same(whole, Run(path)(resume=True))


def test_a_second_ctrl_c_does_not_wait(path: Path) -> None:
    seen = []

    class After(cnn.Observer):
        def on_batch(self, progress: cnn.BatchProgress) -> None:
            seen.append((progress.epoch, progress.batch))

    with pytest.raises(KeyboardInterrupt):
        Run(path, callbacks=lambda: [PressCtrlC((1, 3), presses=2), After()])()
    assert seen == [(1, 1), (1, 2)]

"""What happens to a fused model between and within its steps is noticed, as it is unfused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from tests.cnn.fusing import Calling, trainers
from tests.cnn.networks import Square, batch
from tests.cnn.runs import same_arrays
from tests.cnn.toys import small_net, stripes


def _other_window(model: cnn.Sequential) -> None:
    model.layers[0].dilation = model.layers[0].padding = 2


CHANGES: dict[str, Callable[[Any], Any]] = {
    "inserted layer": lambda m: m.layers.insert(3, cnn.Dropout(0.5, rng=1)),
    "replaced layer": lambda m: m.layers.__setitem__(2, Square()),
    "window": _other_window,
    "weights in place": lambda m: m.layers[0].weight.data.__imul__(3.0),
    "new array": lambda m: setattr(m.layers[0].weight, "data", m.layers[0].weight.data * 0.5),
    "new array behind": lambda m: setattr(
        m.layers[9].weight, "data", np.linspace(1, 2, m.layers[9].weight.data.size)
    ),
    "order turned in place": lambda m: m.layers[4].weight.data.__imul__(-1.0),
    "order turned": lambda m: setattr(m.layers[4].weight, "data", -m.layers[4].weight.data),
    "new gradient": lambda m: setattr(m.layers[3].weight, "grad", None),
    "new parameter": lambda m: setattr(m.layers[11], "bias", cnn.Parameter(np.arange(3.0))),
    "no parameter": lambda m: setattr(m.layers[11], "bias", None),
    "setting": lambda m: setattr(m.layers[1], "eps", 0.5),
    "setting behind": lambda m: setattr(m.layers[9], "eps", 0.5),
    "momentum": lambda m: setattr(m.layers[1], "momentum", 0.5),
    "momentum behind": lambda m: setattr(m.layers[9], "momentum", 0.5),
    "new statistics": lambda m: setattr(m.layers[1], "running_mean", np.full(32, 0.5)[::2]),
    "new statistics behind": lambda m: setattr(m.layers[9], "running_var", np.full(128, 2.0)),
    "running statistics": lambda m: m.layers[1].running_var.__imul__(4.0),
}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_of_the_model_are_noticed(
    change: Callable[[cnn.Sequential], Any], backend: str
) -> None:
    fused, unfused, image = trainers("mnist_cnn", backend)
    data = batch(image)
    before = unfused.evaluate(data)["loss"]
    for trainer in (unfused, fused):  # a step of the unfused one sets gradients
        trainer.model.layers[11].bias.data += [0.5, 0, -0.5]
        trainer.step(*data)
        for _ in range(2):  # what the first one captures, the second looks through and replays
            trainer.evaluate(data)
        change(trainer.model)
    wanted = unfused.evaluate(data)
    assert wanted["loss"] != before
    assert fused.evaluate(data) == pytest.approx(wanted, abs=1e-9)
    for _ in range(3):
        assert fused.step(*data) == pytest.approx(unfused.step(*data), abs=1e-9)
    assert fused.evaluate(data) == pytest.approx(unfused.evaluate(data), abs=1e-9)


@pytest.mark.parametrize("fuse", [True, False])
def test_a_batch_norm_in_front_of_pooling_is_checked_as_any(fuse: bool) -> None:
    trainer = trainers("mnist_cnn", "numba")[0 if fuse else 1]
    trainer.model.layers[4].weight.data = np.ones(5)
    with pytest.raises(kernels.ShapeError, match=r"^weight must have shape \(32,\)"):
        trainer.step(*batch((1, 6, 6)))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_changes_of_a_shortcut_are_noticed(backend: str) -> None:
    shortcut = cnn.PaddedShortcut(2, 3, stride=2)
    model = cnn.Sequential(cnn.ReLU(), shortcut)
    x = np.ones((1, 2, 8, 8), "float32")
    with kernels.use_backend(backend):
        model.outputs([x], fuse=True)
        shortcut.stride, shortcut.out_channels = 4, 5
        (y,) = model.outputs([x], fuse=True)
        np.testing.assert_array_equal(y, model.forward(x, training=False))


UNPICKLED = """
import pickle, sys
import numpy as np
import cnn, kernels
from cnn.changes import latest

first = latest()
model = pickle.loads(bytes.fromhex(sys.argv[1]))
x = np.linspace(-1, 2, 128, dtype="float32").reshape(1, 2, 8, 8)
with kernels.use_backend("numpy"):
    model.outputs([x], fuse=True)
    model.layers.pop()
    (y,) = model.outputs([x], fuse=True)
assert latest() == first, "nothing was set"
assert y.shape == x.shape, y.shape
"""


def test_changes_of_a_model_are_noticed_if_nothing_was_ever_set() -> None:
    """As in a process that unpickles a model without parameters."""
    model = pickle.dumps(cnn.Sequential(cnn.ReLU(), cnn.MaxPool2d(2))).hex()
    run = subprocess.run(
        [sys.executable, "-c", UNPICKLED, model], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr


def test_a_deleted_attribute_is_noticed() -> None:
    model = cnn.Sequential(cnn.BatchNorm2d(2))
    x = np.ones((1, 2, 3, 3), "float32")
    for _ in range(2):
        model.outputs([x])
    del model.layers[0].eps
    with pytest.raises(AttributeError, match="eps"):
        model.outputs([x])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_changes_of_a_list_inside_are_noticed(backend: str) -> None:
    inner = cnn.Sequential(cnn.ReLU())
    model = cnn.Sequential(cnn.Residual(cnn.Sequential(inner, cnn.ReLU())))
    x = np.linspace(-1, 2, 128, dtype="float32").reshape(1, 2, 8, 8)
    with kernels.use_backend(backend):
        for change in (lambda: None, lambda: inner.layers.insert(0, Square()), inner.layers.pop):
            change()
            (y,) = model.outputs([x], fuse=True)
            np.testing.assert_array_equal(y, model.forward(x, training=False))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("layer", [0, 1, 9])
def test_weights_of_another_shape_or_dtype_are_refused(layer: int, backend: str) -> None:
    shape = {0: (16, 1, 3, 3), 1: (16,), 9: (128,)}[layer]
    for array in (np.ones(shape, "float32"), np.ones((15, *shape[1:]))):
        fused, _, image = trainers("mnist_cnn", backend)
        fused.step(*batch(image))
        before = fused.model.state_dict()
        fused.model.layers[layer].weight.data = array
        with pytest.raises((kernels.ShapeError, TypeError), match=r"must (have|be of)"):
            fused.step(*batch(image))
        assert np.array_equal(before["1.running_mean"], fused.model.state_dict()["1.running_mean"])


def test_a_layer_that_comes_twice_is_an_error_as_ever() -> None:
    conv = cnn.Conv2d(2, 2, 3, padding=1, dtype="float64")
    model = cnn.Sequential(conv, conv, cnn.Flatten(), cnn.Linear(128, 3, dtype="float64"))
    with pytest.raises(RuntimeError, match="each one serves one backward"):
        cnn.Trainer(model, backend="numpy", fuse=True).step(*batch((2, 8, 8)))


def test_a_residual_whose_parts_do_not_fit_is_refused_as_ever() -> None:
    model = cnn.Sequential(cnn.Residual(cnn.Conv2d(2, 3, 1)), cnn.Flatten())
    for fuse in (True, False):
        with (
            kernels.use_backend("numpy"),
            pytest.raises(kernels.ShapeError, match=r"body gives \(., 3, 4, 4\)"),
        ):
            model.outputs([np.zeros((2, 2, 4, 4), "float32")], fuse=fuse)


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


def test_a_step_inside_a_step_is_refused_and_leaves_no_trace() -> None:
    inner = Calling()
    model = cnn.Sequential(*small_net().layers, inner)
    trainer = cnn.Trainer(model, backend="numpy", fuse=True)
    inner.call = lambda: trainer.step(*stripes(3))
    before = model.state_dict()
    with pytest.raises(RuntimeError, match="the model is computing another batch"):
        trainer.step(*stripes(4))
    assert same_arrays(before, model.state_dict())
    inner.call = lambda: None
    assert trainer.step(*stripes(4)) > 0

"""State dictionaries: PyTorch's names, shapes and order; all or nothing when loading."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnn
from tests.cnn.toys import small_net

# What torch.nn.Sequential of the same layers prints for mnist_cnn's state_dict().
PYTORCH_STATE = {
    "0.weight": (16, 1, 3, 3),
    "0.bias": (16,),
    "1.weight": (16,),
    "1.bias": (16,),
    "1.running_mean": (16,),
    "1.running_var": (16,),
    "1.num_batches_tracked": (),
    "3.weight": (32, 16, 3, 3),
    "3.bias": (32,),
    "4.weight": (32,),
    "4.bias": (32,),
    "4.running_mean": (32,),
    "4.running_var": (32,),
    "4.num_batches_tracked": (),
    "8.weight": (128, 6272),
    "8.bias": (128,),
    "9.weight": (128,),
    "9.bias": (128,),
    "9.running_mean": (128,),
    "9.running_var": (128,),
    "9.num_batches_tracked": (),
    "11.weight": (10, 128),
    "11.bias": (10,),
}


def test_names_shapes_and_order_are_pytorchs() -> None:
    state = cnn.models.mnist_cnn().state_dict()
    assert [(name, array.shape) for name, array in state.items()] == list(PYTORCH_STATE.items())
    for name, array in state.items():
        assert array.dtype == (np.int64 if name.endswith("tracked") else np.float32)
        assert array.flags.c_contiguous


def test_nested_containers_join_their_names() -> None:
    model = cnn.Sequential(cnn.ReLU(), cnn.Sequential(cnn.Linear(2, 3), cnn.BatchNorm1d(3)))
    assert list(model.state_dict())[:3] == ["1.0.weight", "1.0.bias", "1.1.weight"]
    assert next(iter(model.named_buffers())) == "1.1.running_mean"


def test_residual_layers_name_their_parts_as_modules() -> None:
    shortcut = cnn.Sequential(cnn.Conv2d(1, 2, 1), cnn.BatchNorm2d(2))
    body = cnn.Sequential(cnn.Conv2d(1, 2, 1, bias=False))
    model = cnn.Sequential(cnn.ReLU(), cnn.Residual(body, shortcut), cnn.Residual(cnn.ReLU()))
    names = list(model.state_dict())
    assert names[:3] == ["1.body.0.weight", "1.shortcut.0.weight", "1.shortcut.0.bias"]
    assert names[-1] == "1.shortcut.1.num_batches_tracked"
    assert next(iter(model.named_buffers())) == "1.shortcut.1.running_mean"


def test_state_is_a_copy() -> None:
    model = small_net()
    model.state_dict()["0.weight"][...] = 7
    assert not (model.state_dict()["0.weight"] == 7).any()


def test_round_trip() -> None:
    one, other = small_net(seed=1), small_net(seed=2)
    state = one.state_dict()
    state["1.num_batches_tracked"][...] = 12
    assert not np.array_equal(state["0.weight"], other.state_dict()["0.weight"])
    other.load_state_dict(state)
    loaded = other.state_dict()
    assert all(np.array_equal(state[name], loaded[name]) for name in state)


@pytest.mark.parametrize(("source", "target"), [("float32", "float64"), ("float64", "float32")])
def test_floats_are_converted_to_the_models_dtype(source: str, target: str) -> None:
    model = small_net(seed=2, dtype=target)
    state = small_net(seed=1, dtype=source).state_dict()
    model.load_state_dict(state)
    loaded = model.state_dict()
    assert model.dtype == target
    assert loaded["0.weight"].dtype == target
    assert np.array_equal(loaded["0.weight"], state["0.weight"].astype(target))


def renamed(state: dict[str, Any]) -> None:
    state["0.weights"] = state.pop("0.weight")


def transposed(state: dict[str, Any]) -> None:
    state["11.weight"] = state["11.weight"].T


def integers(state: dict[str, Any]) -> None:
    state["11.weight"] = state["11.weight"].astype(int)


def half(state: dict[str, Any]) -> None:
    state["11.weight"] = state["11.weight"].astype(np.float16)


def fractional_count(state: dict[str, Any]) -> None:
    state["9.num_batches_tracked"] = np.array(1.5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (renamed, "names: missing 0.weight; unexpected 0.weights$"),
        (lambda state: state.pop("4.bias"), "names: missing 4.bias$"),
        (lambda state: state.update(x=1, y=2), "names: unexpected x, y$"),
        (transposed, r"11.weight must have shape \(3, 5\), got \(5, 3\)"),
        (integers, "11.weight must be of float32 or float64, got int64"),
        (half, "11.weight must be of float32 or float64, got float16"),
        (fractional_count, "9.num_batches_tracked must be of an integer dtype, got float64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(damage: Any, message: str) -> None:
    model = small_net(seed=1)
    before = model.state_dict()
    state = small_net(seed=2).state_dict()
    damage(state)
    with pytest.raises(ValueError, match=message) as caught:
        model.load_state_dict(state)
    assert "\n" not in str(caught.value)
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)

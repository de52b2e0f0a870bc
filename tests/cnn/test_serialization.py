"""Model files: what comes back, and what damaged ones get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import cnn
import kernels

SHAPE = (1, 4, 4)


def trained(dtype: str = "float32") -> cnn.Sequential:
    rng = np.random.default_rng(0)
    model = cnn.models.mnist_cnn(SHAPE, num_classes=3, seed=7, dtype=dtype)
    trainer = cnn.Trainer(model, backend="numpy")
    trainer.step(rng.random((6, *SHAPE)), np.arange(6) % 3)
    return model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    cnn.save(trained(), path, scaling=cnn.Scaling(255), class_names=("a", "b", "ß"))
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path: Path, dtype: str, rng: np.random.Generator) -> None:
    model, path = trained(dtype), str(tmp_path / "model.safetensors")
    cnn.save(model, path, scaling=cnn.Scaling(255), class_names=["a", "b", "ß"])
    loaded = cnn.load(path)
    assert loaded.architecture == model.architecture
    assert loaded.scaling == cnn.Scaling(255)
    assert loaded.class_names == ("a", "b", "ß")
    assert loaded.dtype == dtype
    state, again = model.state_dict(), loaded.state_dict()
    assert all(np.array_equal(state[name], again[name]) for name in state)
    with kernels.use_backend("numpy"):
        x = rng.random((3, *SHAPE))
        assert np.array_equal(model.predict_proba(x), loaded.predict_proba(x))


@pytest.mark.parametrize("name", cnn.models.MODELS)
def test_every_model_is_built_again(tmp_path: Path, name: str) -> None:
    model = cnn.models.create(name, input_shape=(2, 14, 13), num_classes=3, seed=5)
    cnn.save(model, tmp_path / "m")
    loaded, state = cnn.load(tmp_path / "m"), model.state_dict()
    assert loaded.architecture == model.architecture
    assert all(np.array_equal(array, state[key]) for key, array in loaded.state_dict().items())


def test_a_loaded_model_keeps_what_it_knows_when_saved_again(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "again.safetensors"
    cnn.save(cnn.load(file), other)
    assert other.read_bytes() == file.read_bytes()


def test_normalisation_comes_back(tmp_path: Path) -> None:
    scaling = cnn.Scaling(255, mean=(0.1307,), std=(0.3081,))
    cnn.save(trained(), tmp_path / "m", scaling=scaling)
    assert cnn.load(tmp_path / "m").scaling == scaling


def test_scaling_and_class_names_may_be_unknown(tmp_path: Path) -> None:
    cnn.save(trained(), tmp_path / "m")
    loaded = cnn.load(tmp_path / "m")
    assert loaded.scaling is None
    assert loaded.class_names is None


def test_other_programs_read_the_file(file: Path) -> None:
    state = load_file(file)
    assert set(state) == set(trained().state_dict())
    with safe_open(file, framework="np") as opened:
        metadata = opened.metadata()
    about = json.loads(metadata["cnn_kernels"])
    assert about["class_names"] == ["a", "b", "ß"]
    assert about["scaling"] == {"divisor": 255}
    assert about["architecture"]["name"] == "mnist_cnn"
    assert about["architecture"]["kwargs"]["input_shape"] == [1, 4, 4]


def test_a_failed_write_leaves_the_old_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full_disk(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        cnn.save(trained("float64"), file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_hand_made_models_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model has no architecture to save"):
        cnn.save(cnn.Sequential(cnn.Linear(2, 2)), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def refusal(path: Path) -> str:
    with pytest.raises(cnn.ModelFileError) as caught:
        cnn.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refusal(tmp_path / "nothing")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)
    foreign = tmp_path / "foreign"
    for content in (b"", b"hello", b"\x80\x04\x95", bytes(1000)):
        foreign.write_bytes(content)
        assert "not a whole safetensors file" in refusal(foreign)
    save_file({"x": np.zeros(3)}, foreign)
    assert "not a model of cnn-kernels" in refusal(foreign)
    save_file({"x": np.zeros(3)}, foreign, {"cnn_kernels": "{"})
    assert "cannot be used" in refusal(foreign)
    save_file({"x": np.zeros(3)}, foreign, {"cnn_kernels": "{}"})
    assert "cannot be used (metadata has no 'format')" in refusal(foreign)
    save_file({"x": np.zeros(3)}, foreign, {"cnn_kernels": '{"format": 2}'})
    assert "format must be 1, got 2" in refusal(foreign)


def test_truncated_files(file: Path) -> None:
    whole = file.read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(whole), len(whole) // 50), len(whole) - 1]:
        file.write_bytes(whole[:length])
        assert "not a whole safetensors file" in refusal(file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255), header=st.booleans())
def test_damaged_bytes_never_give_another_model(
    file: Path, share: float, value: int, header: bool
) -> None:
    content = bytearray(file.read_bytes())
    content[int(share * (2000 if header else len(content)))] ^= value
    damaged = file.with_name("damaged")
    damaged.write_bytes(content)
    try:
        model = cnn.load(damaged)
    except cnn.ModelFileError:
        return
    again = file.with_name("again")  # only the white space in the header can have changed
    cnn.save(model, again)
    assert again.read_bytes() == file.read_bytes()


ARCHITECTURE = {"name": "mnist_cnn", "kwargs": {"input_shape": [1, 4, 4], "num_classes": 3}}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("architecture", {"name": "lenet", "kwargs": {}}, "model must be one of 'mnist_cnn'"),
        ("architecture", {"name": "mnist_cnn", "kwargs": {"depth": 3}}, "unexpected keyword"),
        ("architecture", {"name": "mnist_cnn", "kwargs": {}}, "8.weight must have shape"),
        ("architecture", {"name": "mnist_cnn"}, "metadata has no 'kwargs'"),
        ("architecture", None, "cannot be used"),
        ("scaling", {"divisor": 0}, "divisor must be finite and above 0"),
        ("class_names", 3, "not iterable"),
    ],
)
def test_files_that_describe_no_known_model(
    file: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: Any, message: str
) -> None:
    monkeypatch.setattr("cnn.storage._digest", lambda state, about: "0")
    about = {
        "format": 1,
        "architecture": ARCHITECTURE,
        "scaling": None,
        "class_names": None,
        "sha256": "0",
    }
    state = load_file(file)
    save_file(state, file, {"cnn_kernels": json.dumps(about)})
    assert cnn.load(file).architecture is not None
    save_file(state, file, {"cnn_kernels": json.dumps(about | {field: value})})
    assert message in refusal(file)

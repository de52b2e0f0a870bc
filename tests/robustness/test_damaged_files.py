"""Damaged data and model files: a clear error, or data that the format cannot know to be wrong."""

from __future__ import annotations

import gzip
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.data import DataError, Dataset, read_idx
from cnn.data.mnist import mnist_subset
from tests.robustness.mutations import mutations
from tests.robustness.processes import run

CASES = 500
"""Damaged files of each format."""

RNG = np.random.default_rng(0)
IMAGES = b"\0\0\x08\3" + struct.pack(">3I", 40, 28, 28) + RNG.bytes(40 * 784)
LABELS = b"\0\0\x08\1" + struct.pack(">I", 40) + bytes(range(10)) * 4


@dataclass(frozen=True)
class Format:
    """A file format and its reader.

    ``write`` makes a whole file, ``read`` reads it, ``error`` is what the reader may raise,
    ``check`` looks at what came out of a damaged file that was accepted (the whole file's result
    is its second argument), and at least ``refused`` of ``CASES`` files have to be refused.
    """

    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    error: type[Exception]
    check: Callable[[Any, Any], None]
    refused: int


def _same_array(got: np.ndarray, whole: np.ndarray) -> None:
    np.testing.assert_array_equal(got, whole)


def _same_kind_of_array(got: np.ndarray, whole: np.ndarray) -> None:
    """IDX has no checksum: any bytes are pixels, if they are as many as the header says."""
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert 0 < got.nbytes <= whole.nbytes + 8


def _same_model(got: cnn.Sequential, whole: cnn.Sequential) -> None:
    assert got.architecture == whole.architecture
    assert (got.scaling, got.class_names) == (whole.scaling, whole.class_names)
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(got.state_dict()[name], array)


def _write_model(path: Path) -> None:
    model = cnn.models.mnist_cnn(input_shape=(1, 4, 4), num_classes=3)
    cnn.save(model, path, scaling=cnn.data.load("mnist-subset").scaling, class_names="abc")


def _valid_dataset(got: Dataset, whole: Dataset) -> None:
    for split in (got.train, got.test):
        assert split.x.dtype == np.float32
        assert split.x.shape == (len(split.y), 1, 28, 28)
        assert 0 <= split.x.min() <= split.x.max() <= 1
        assert 0 <= split.y.min() <= split.y.max() <= 9


def _write_npz(path: Path) -> None:
    pixels = np.frombuffer(IMAGES[16:], np.uint8).reshape(40, 28, 28)
    labels = np.frombuffer(LABELS[8:], np.uint8)
    with path.open("wb") as file:
        np.savez(file, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)


def _load_npz(path: Path) -> Dataset:
    return cnn.data.load(str(path.rename(path.with_suffix(".npz"))))


def _write_labels(path: Path) -> None:
    """Labels of a whole small data set; not compressed, so that they can be wrong."""
    for prefix in ("train", "t10k"):
        (path.parent / f"{prefix}-images-idx3-ubyte.gz").write_bytes(IMAGES)
        (path.parent / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(LABELS)
    path.write_bytes(LABELS)


def _dataset_with_labels(path: Path) -> Dataset:
    shutil.copy(path, path.with_name("t10k-labels-idx1-ubyte.gz"))
    return mnist_subset(path.parent)


FORMATS = {
    "IDX": Format(
        lambda path: path.write_bytes(IMAGES) and None,
        read_idx,
        DataError,
        _same_kind_of_array,
        refused=CASES // 2,
    ),
    "IDX in gzip": Format(
        lambda path: path.write_bytes(gzip.compress(IMAGES)) and None,
        read_idx,
        DataError,
        _same_array,
        refused=CASES * 9 // 10,
    ),
    "MNIST's labels": Format(
        _write_labels, _dataset_with_labels, DataError, _valid_dataset, refused=CASES // 2
    ),
    "npz": Format(_write_npz, _load_npz, DataError, _valid_dataset, refused=CASES // 2),
    "safetensors": Format(
        _write_model, cnn.load, cnn.ModelFileError, _same_model, refused=CASES * 99 // 100
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_valid(name, tmp_path):
    kind = FORMATS[name]
    file = tmp_path / "file"
    kind.write(file)
    content, whole = file.read_bytes(), kind.read(file)
    messages = []
    for damaged in mutations(content, CASES):
        file.write_bytes(damaged)
        try:
            got = kind.read(file)
        except kind.error as error:
            messages.append(str(error))
        else:
            kind.check(got, whole)
    assert kind.refused <= len(messages)
    assert all(str(tmp_path) in message and "\n" not in message for message in messages)


def test_reading_data_and_models_unpickles_nothing(tmp_path):
    """Python tells of each object that pickle looks up; none may be while files are read."""
    file = tmp_path / "model.safetensors"
    _write_model(file)
    code = f"""
import pickle, sys
import cnn, numpy as np
cnn.data.load("digits"), cnn.load({str(file)!r})  # imports what they need
looked_up = []
def hook(event, arguments):
    if event == "pickle.find_class":
        looked_up.append(arguments)
sys.addaudithook(hook)
pickle.loads(pickle.dumps(np.dtype("float32")))
assert looked_up
pickled, objects = {str(tmp_path / "objects.npz")!r}, np.array([[print]], object)
np.savez(pickled, x_train=objects, y_train=objects, x_test=objects, y_test=objects)
looked_up.clear()
try:
    cnn.data.load(pickled)
except cnn.data.DataError as error:
    assert "plain arrays" in str(error), error
else:
    raise AssertionError("pickled objects were taken for images")
cnn.data.load("mnist-subset"), cnn.data.load("digits"), cnn.load({str(file)!r})
assert not looked_up, looked_up
"""
    run(code)


def test_metadata_nested_beyond_reason(tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "model.safetensors"
    save_file({"x": np.zeros(1, "float32")}, file, {"cnn_kernels": "[" * 100_000 + "]" * 100_000})
    with pytest.raises(cnn.ModelFileError, match=r"model\.safetensors: cannot be used"):
        cnn.load(file)

"""MNIST from OpenML: scikit-learn's own client talks to a server on this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn
from cnn.data import openml

DATA_ID, TRAIN, TEST, SIDE = 554, 6, 3, 2
DIGITS = tuple("0123456789")


class Stub(ThreadingHTTPServer):
    """Serves one data set as OpenML does, well or badly."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rows = [[*(10 * row + i for i in range(SIDE**2)), row] for row in range(TRAIN + TEST)]
        self.requests: list[str] = []
        self.fail_with = 0
        self.cut_off = 0  # how many downloads of the data break off in the middle
        self.released = threading.Event()
        self.silent = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def pixels(self) -> np.ndarray:
        return np.array([row[:-1] for row in self.rows])

    def arff(self) -> bytes:
        names = [f"@ATTRIBUTE pixel{i} real" for i in range(len(self.rows[0]) - 1)]
        data = [",".join(map(str, row)) for row in self.rows]
        label = "@ATTRIBUTE class {" + ",".join(map(str, range(100))) + "}"
        return "\n".join(["@RELATION stub", *names, label, "@DATA", *data, ""]).encode()

    def answer(self, path: str) -> dict[str, Any] | None:
        base = "/api/v1/json/data/"
        pixels = [self.feature(i, f"pixel{i}", "numeric") for i in range(len(self.rows[0]) - 1)]
        label = self.feature(len(pixels), "class", "nominal")
        return {
            f"{base}{DATA_ID}": {"data_set_description": self.description()},
            f"{base}features/{DATA_ID}": {"data_features": {"feature": [*pixels, label]}},
            f"{base}qualities/{DATA_ID}": {
                "data_qualities": {
                    "quality": [{"name": "NumberOfInstances", "value": str(len(self.rows))}]
                }
            },
        }.get(path)

    def description(self) -> dict[str, str]:
        return {
            "id": str(DATA_ID),
            "name": "mnist_784",
            "version": "1",
            "status": "active",
            "format": "ARFF",
            "description": "digits",
            "url": f"{self.url}/data/v1/download/52667/mnist_784.arff",
            "file_id": "52667",
            "default_target_attribute": "class",
            "md5_checksum": hashlib.md5(self.arff()).hexdigest(),
        }

    @staticmethod
    def feature(index: int, name: str, kind: str) -> dict[str, str]:
        return {
            "index": str(index),
            "name": name,
            "data_type": kind,
            "is_target": str(kind == "nominal").lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.server.silent:
            self.server.released.wait(30)
            return
        if self.server.fail_with:
            self.send_error(self.server.fail_with)
            return
        if self.path.endswith(".arff"):
            content = self.server.arff()
        else:
            content = json.dumps(self.server.answer(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path.endswith(".arff") and self.server.cut_off:
            self.server.cut_off -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def stub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub()
    client = "sklearn.datasets._openml"
    for name, path in (
        ("_SEARCH_NAME", "list/data_name/{}/limit/2"),
        ("_DATA_INFO", "{}"),
        ("_DATA_FEATURES", "features/{}"),
        ("_DATA_QUALITIES", "qualities/{}"),
    ):
        monkeypatch.setattr(f"{client}.{name}", f"{server.url}/api/v1/json/data/{path}")
    monkeypatch.setattr(f"{client}.time.sleep", lambda seconds: None)  # between its attempts
    source = openml.Source(DATA_ID, DIGITS, TRAIN, TEST, SIDE)
    monkeypatch.setitem(openml.SOURCES, "mnist", source)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_and_cache(stub: Stub, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cnn"):
        data = cnn.data.load("mnist")
    (note,) = caplog.messages
    assert note.startswith(f"mnist: downloading {TRAIN + TEST} images from OpenML to {home}, once")
    assert data.name == "mnist"
    assert data.class_names == DIGITS
    assert data.input_shape == (1, SIDE, SIDE)
    expected = stub.pixels.reshape(-1, 1, SIDE, SIDE) / 255
    assert data.train.x == pytest.approx(expected[:TRAIN])
    assert data.test.x == pytest.approx(expected[TRAIN:])
    assert data.train.y.tolist() == list(range(TRAIN))
    assert data.test.y.tolist() == list(range(TRAIN, TRAIN + TEST))
    assert len(stub.requests) == 4
    again = cnn.data.load("mnist")
    assert len(stub.requests) == 4
    assert np.array_equal(again.test.x, data.test.x)


def test_a_download_that_breaks_off_is_repeated(stub: Stub) -> None:
    stub.cut_off = 1
    assert len(cnn.data.load("mnist").train.x) == TRAIN
    assert sum(path.endswith(".arff") for path in stub.requests) == 2


def refusal(name: str = "mnist") -> str:
    with pytest.raises(cnn.data.DataError) as caught:
        cnn.data.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_download_that_keeps_breaking_off_leaves_nothing_behind(stub: Stub, home: Path) -> None:
    stub.cut_off = 100
    message = refusal()
    assert message.startswith("mnist: cannot be downloaded from OpenML (")
    for advice in ("mnist-subset", "IDX files", "Try again later"):
        assert advice in message
    assert not (home / "cnn-kernels").exists()
    stub.cut_off = 0
    assert len(cnn.data.load("mnist").train.x) == TRAIN


def test_a_server_with_an_error(stub: Stub) -> None:
    stub.fail_with = 503
    assert "(HTTP Error 503: Service Unavailable)" in refusal()
    stub.fail_with = 0
    assert len(cnn.data.load("mnist").train.x) == TRAIN


def test_a_silent_server(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openml, "TIMEOUT", 0.05)
    stub.silent = True
    assert "timed out" in refusal()


def test_no_server_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = "sklearn.datasets._openml"
    monkeypatch.setattr(f"{client}._DATA_INFO", "http://127.0.0.1:9/{}")
    monkeypatch.setattr(f"{client}.time.sleep", lambda seconds: None)
    assert "Connection refused" in refusal("fashion-mnist")


def test_ctrl_c_in_a_download_can_be_repeated(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sklearn.datasets._openml.shutil.copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cnn.data.load("mnist")
    assert len(cnn.data.load("mnist").train.x) == TRAIN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(), r"must be \(9, 4\) pixels and 9 labels, got \(8, 4\)"),
        (lambda rows: [row.insert(0, 1) for row in rows], r"got \(9, 5\) and \(9,\)"),
        (lambda rows: rows[0].__setitem__(0, 256), "pixels from 1 to 256"),
        (lambda rows: rows[0].__setitem__(0, 0.5), "pixels from 0.5 to 83"),
        (lambda rows: rows[0].__setitem__(-1, 11), "labels from 0 to 9 and pixels .*'11'"),
    ],
)
def test_other_data_than_expected(stub: Stub, home: Path, change: Any, message: str) -> None:
    change(stub.rows)
    with pytest.raises(cnn.data.DataError, match=message):
        cnn.data.load("mnist")
    assert not (home / "cnn-kernels").exists()


def test_a_damaged_cache_says_which_file_to_delete(stub: Stub, home: Path) -> None:
    cnn.data.load("mnist")
    cached = home / "cnn-kernels" / "mnist.npz"
    cached.write_bytes(cached.read_bytes()[:-50])
    message = refusal()
    assert message.startswith(f"{cached}: not a whole .npz archive")
    assert message.endswith("delete the file, and it is downloaded again")
    cached.unlink()
    assert len(cnn.data.load("mnist").train.x) == TRAIN

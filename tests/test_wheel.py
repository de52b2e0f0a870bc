"""The wheel trains from an empty folder elsewhere, with only its declared dependencies."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from kernels.backends.numba.cache import cache_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_contents(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {t for t in top if not t.endswith(".dist-info")} == {"kernels", "cnn"}
    for wanted in ("kernels/py.typed", "cnn/py.typed", "cnn/data/mnist-subset/README.md"):
        assert wanted in names
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "License-Expression: MIT AND CC-BY-SA-3.0" in text


@pytest.mark.slow
def test_trains_from_an_empty_folder(wheel: Path, tmp_path: Path):
    environment, elsewhere = tmp_path / "env", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    subprocess.run(
        [python, "-m", "cnn", "train", "--epochs", "1"],
        cwd=elsewhere,
        env={"PATH": "", "HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(cache_folder().parent)},
        check=True,
        capture_output=True,
    )
    results = elsewhere / "runs" / "latest"
    assert {file.name for file in results.iterdir()} == {
        "metrics.json",
        "model.safetensors",
        "model_graph.png",
        "pred.png",
        "checkpoint.safetensors",
    }
    assert json.loads((results / "metrics.json").read_text())["epochs"][0]["test_accuracy"] > 0.9

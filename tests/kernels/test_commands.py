"""``python -m kernels doctor`` and ``warmup``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import kernels
from kernels import command
from kernels.backends.numba.cpu import REGISTER_BYTES
from tests.robustness.processes import ROOT, run

DENSE = ["--conv", "4x8x20x20", "--weight", "16x8x3x3", "--padding", "1"]
FEW_A_GROUP = ["--conv", "4x16x20x21", "--weight", "16x2x3x3", "--padding", "1", "--groups", "8"]
DEPTHWISE = ["--conv", "4x8x20x21", "--weight", "8x1x3x3", "--padding", "1", "--groups", "8"]


def examined(capsys, *arguments: str) -> dict[str, list[str]]:
    """Run doctor; return its sections."""
    assert command.main(["doctor", *arguments]) == 0
    sections = {}
    for part in capsys.readouterr().out.strip().split("\n\n"):
        title, *lines = part.split("\n")
        assert all(line.startswith("  ") for line in lines)
        sections[title] = [line.strip() for line in lines]
    return sections


def section(sections: dict[str, list[str]], beginning: str) -> str:
    (found,) = (lines for title, lines in sections.items() if title.startswith(beginning))
    return "\n".join(found)


@pytest.mark.compiled
def test_doctor_shows_the_machine_and_the_set_up(capsys):
    sections = examined(capsys)
    assert f"numba {numba.__version__}" in section(sections, "versions")
    processor = section(sections, "processor")
    assert f"vectors of {REGISTER_BYTES} bytes: {REGISTER_BYTES // 4} float32" in processor
    threads = section(sections, "threads")
    assert f"{kernels.get_num_threads()} threads" in threads
    assert numba.threading_layer() in threads
    peaks = re.findall(r"(\d+) threads?: (\d+) GFLOP/s", section(sections, "measured peak"))
    assert {int(count) for count, _ in peaks} == {1, kernels.get_num_threads()}
    assert all(int(gflops) > 0 for _, gflops in peaks)


@pytest.mark.compiled
def test_doctor_lists_what_is_compiled(tmp_path):
    """In an empty cache that is what doctor itself needed, to measure the peak."""
    code = "from kernels.command import main; main(['doctor'])"
    out, _ = run(code, NUMBA_CACHE_DIR=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert str(folder) in out
    assert "2 files" in out
    assert "1 × peak._multiply_adds_of_thread-float32" in out
    assert "1 × driver.run_tables-parallel" in out


def test_doctor_explains_a_convolution(capsys):
    sections = examined(capsys, *DENSE, "--stride", "2")
    forward = section(sections, "forward, float32")
    assert "direct (Winograd: only 3×3 of stride 1 and one group, of 64 pixels or more)" in forward
    assert "packed weights" in section(sections, "backward to the input")
    assert "partial results" in section(sections, "backward to the weights")


def test_doctor_explains_the_choice_of_winograd(capsys):
    sections = examined(capsys, *DENSE, "--padding", "1")
    assert re.search(
        r"million cycles direct, [\d.]+ Winograd", section(sections, "forward, float32")
    )


def test_doctor_tells_of_neighbours_that_share_a_vector(capsys):
    sections = examined(capsys, "--conv", "2x1x8x8", "--weight", "16x1x5x5", "--padding", "2")
    assert "8 neighbouring pixels" in section(sections, "backward to the input")


def test_doctor_knows_convolutions_to_one_channel(capsys):
    sections = examined(capsys, "--conv", "2x32x8x8", "--weight", "1x32x1x1")
    assert "dot products of each pixel" in section(sections, "forward, float32")
    assert "dot products" not in section(sections, "backward to the input")
    assert "are exchanged" in section(sections, "backward to the weights")


def test_doctor_knows_few_channels_read_in_place(capsys):
    sections = examined(capsys, *FEW_A_GROUP)
    forward = section(sections, "forward, float32")
    assert "2 channels of a group to 2: a lane of a vector is a group" in forward
    assert "windows slide along each row" in forward
    assert "2 channels of a group to 2" in section(sections, "backward to the input")
    assert "3 taps × 2 × 2 channels" in section(sections, "backward to the weights")
    tiled = section(examined(capsys, *FEW_A_GROUP, "--stride", "2"), "forward")
    assert "tiles of 4 pixels × 1 vector of groups" in tiled


def test_doctor_knows_vectors_across_groups(capsys):
    sections = examined(capsys, "--conv", "4x16x20x20", "--weight", "24x2x5x5", "--groups", "8")
    filled = 8 * 4 / max(REGISTER_BYTES, 8 * 4)
    for beginning in ("forward, float32", "backward to the input", "backward to the weights"):
        lines = section(sections, beginning)
        assert "a lane of a vector is one of the 8 groups" in lines
        assert f"rows × 1 vector, {filled:.0%} filled" in lines


def test_doctor_knows_depthwise_convolutions(capsys):
    sections = examined(capsys, *DEPTHWISE, "--dtype", "float64")
    forward = section(sections, "forward, float64")
    assert "one channel to each group" in forward
    assert "16 tasks: bands of 5 of 20 rows" in forward
    assert "windows slide along each row" in forward
    assert "rows along which the windows slide" in section(sections, "backward to the weights")


def test_doctor_knows_depthwise_windows_of_stride_2(capsys):
    sections = examined(capsys, *DEPTHWISE, "--stride", "2")
    assert "windows go along each row" in section(sections, "forward")
    assert "completes the sums of 2 target columns" in section(sections, "backward to the input")


def test_doctor_knows_which_depthwise_windows_do_not_slide(capsys):
    sections = examined(capsys, *DEPTHWISE, "--dilation", "2")
    forward = section(sections, "forward")
    assert "for the 89% of the columns" in forward  # 17 of 19
    assert "9 rectangles of pixels" in section(sections, "backward to the weights")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--conv", "1x2x3x4"], "--conv and --weight go together"),
        ([*DENSE, "--groups", "3"], "groups must divide"),
        ([*DENSE, "--stride", "0"], "stride"),
        ([*DENSE[:-1], "everywhere"], "padding must be"),
        (["--conv", "1x2x3", "--weight", "1x2x3x3"], "x must have 4 dimensions"),
    ],
)
def test_doctor_refuses_what_does_not_fit(arguments, message, capsys):
    assert command.main(["doctor", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "3by4", "1x2xx4", "1,2,3,4", "1x-2x3x4"])
def test_shapes_that_cannot_be_read(text, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["doctor", "--conv", text, "--weight", "1x1x1x1"])
    message = f"argument --conv: must be integers like 32x16x28x28, got {text!r}"
    assert message in capsys.readouterr().err


TRAIN = """
import logging
logging.basicConfig(level=logging.INFO)
import numpy as np
import cnn
model = cnn.models.mnist_cnn(input_shape=(1, 28, 28), num_classes=10)
trainer = cnn.Trainer(model, optimizer=cnn.optim.SGD(lr=0.01), backend="numba")
rng = np.random.default_rng(0)
x, y = rng.random((32, 1, 28, 28), np.float32), rng.integers(0, 10, 32)
trainer.step(x, y)
trainer.evaluate((x, y))
model.predict_proba(x[:1])
"""


@pytest.mark.slow
def test_warmup_leaves_nothing_to_compile(tmp_path):
    """Whatever a training, an evaluation and a single image's inference call is there."""
    done = subprocess.run(
        [sys.executable, "-m", "kernels", "warmup"],
        cwd=ROOT,
        env={"PATH": "", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    before = _kept(tmp_path)
    assert f"{len(before)} functions compiled" in done.stdout
    assert re.search(r"conv2d +[1-9]\d* ", done.stdout)
    _, complaints = run(TRAIN, NUMBA_CACHE_DIR=str(tmp_path))
    assert _kept(tmp_path) == before
    assert "compil" not in complaints


def _kept(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*.jit")}

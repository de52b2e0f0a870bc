"""The folder of compiled code: whatever happens to it, results are right."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest

import cnn
import kernels
from kernels.backends.numba import ahead, cache, driver, jit, peak, tables, tasks
from tests.robustness.processes import ROOT, run, run_all, start

X = np.linspace(-1, 1, 1000)

RELU = """
import logging
logging.basicConfig(level=logging.INFO)
import kernels, numpy as np
print(*kernels.relu(np.array([-1, 2, -3, 4], "float32"), backend="numba"))
"""
RELU_GIVES = "0.0 2.0 0.0 4.0\n"


def double(x, out):
    for i in numba.prange(len(x)):
        out[i] = 2 * x[i]


def doubled(x: np.ndarray) -> np.ndarray:
    """``2·x`` by a driver that knows nothing yet: as in a new process."""
    out = np.empty_like(x)
    jit.prange_driver(double)(x, out)
    return out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "base" / f"{cache.FOLDER_PREFIX}test"
    monkeypatch.setattr(cache, "cache_folder", lambda: place)
    for function in (cache._mark_as_used, cache._announce_compilation):
        function.cache_clear()
    cache._warn_that_nothing_is_kept.cache_clear()
    return place


def compiled_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"**/*{cache.SUFFIX}"))


def test_code_is_kept_and_found_again(folder, monkeypatch):
    np.testing.assert_array_equal(doubled(X), 2 * X)
    assert len(list(folder.iterdir())) == len(compiled_files(folder)) == 1
    monkeypatch.setattr(cache, "_write", None)  # compiling again would want to write
    np.testing.assert_array_equal(doubled(X), 2 * X)


def test_no_damaged_file_is_used(folder, caplog):
    """Neither pickle nor the processor is shown a byte of it."""
    doubled(X)
    (file,) = compiled_files(folder)
    whole = file.read_bytes()
    signature = _signature()
    kept = cache.CheckedCache("test_cache.double-parallel")
    target = numba.core.registry.cpu_target.target_context
    assert kept.load_overload(signature, target) is not None
    rng = np.random.default_rng(0)
    lengths = [*range(70), *rng.integers(70, len(whole), 200), len(whole) - 1]
    damaged = [whole[:length] for length in lengths] + [whole + b"\0"]
    for position in [*range(40), len(whole) - 1, *rng.integers(40, len(whole), 500)]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        file.write_bytes(content)
        caplog.clear()
        assert kept.load_overload(signature, target) is None
        assert f"{file} is damaged" in caplog.text


def _signature() -> tuple[numba.types.Type, ...]:
    return (numba.typeof(X), numba.typeof(X))


@pytest.mark.parametrize("damage", ["cut off", "emptied", "flipped", "code of another type"])
def test_damaged_code_is_compiled_anew(folder, damage):
    doubled(X)
    (file,) = compiled_files(folder)
    whole = file.read_bytes()
    if damage == "code of another type":
        doubled(X.astype("float32"))
        (other,) = set(compiled_files(folder)) - {file}
        other.replace(file)
    else:
        bits = bytearray(whole)
        bits[len(bits) // 2] ^= 4
        file.write_bytes({"cut off": whole[:-9], "emptied": b"", "flipped": bytes(bits)}[damage])
    before = file.read_bytes()
    np.testing.assert_array_equal(doubled(X), 2 * X)
    assert file.read_bytes() != before  # replaced by whole code
    np.testing.assert_array_equal(doubled(X), 2 * X)


def _unusable_folders() -> list[str]:
    """Folders that cannot be made, not even by root, who may write anywhere else."""
    return ["{tmp_path}/file/below"] + ["/proc/none"] * sys.platform.startswith("linux")


@pytest.mark.parametrize("place", _unusable_folders())
def test_no_place_for_compiled_code_is_a_warning_not_a_crash(tmp_path, place):
    """As in a container whose user has no home."""
    (tmp_path / "file").write_text("a file is no folder")
    place = place.format(tmp_path=tmp_path)
    out, complaints = run(RELU, NUMBA_CACHE_DIR=place)
    assert out == RELU_GIVES
    assert complaints.count(f"compiled code cannot be kept in {place}") == 1


def test_full_disk_is_a_warning_not_a_crash(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))"
    out, complaints = run(f"{limit}\n{RELU}", NUMBA_CACHE_DIR=str(tmp_path))
    assert out == RELU_GIVES
    assert "compiled code cannot be kept" in complaints
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_code_in_a_read_only_folder_is_used(tmp_path):
    """As in a container's image. Root may write there all the same, and must have no cause to."""
    run(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    before = {file: file.stat().st_mtime_ns for file in compiled_files(tmp_path)}
    assert len(before) == 2  # of the task, and of the loop that runs tasks
    folders = {file.parent for file in before} | {tmp_path}
    for path in folders:
        path.chmod(0o555)
    try:
        out, complaints = run(RELU, NUMBA_CACHE_DIR=str(tmp_path))
    finally:
        for path in folders:
            path.chmod(0o755)
    assert out == RELU_GIVES
    assert "compil" not in complaints
    assert {file: file.stat().st_mtime_ns for file in compiled_files(tmp_path)} == before


@pytest.mark.slow
def test_edited_source_is_compiled_anew(tmp_path):
    """Also where the edit is in a function that the driver only calls."""
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    source = tmp_path / "kernels" / "backends" / "numba" / "vector_arithmetic.py"
    original = source.read_text()
    edited = original.replace('fcmp_ordered(">"', 'fcmp_ordered("<"')
    assert edited != original

    def outcome(text: str) -> tuple[str, bool]:
        source.write_text(text)
        out, complaints = run(RELU, cwd=tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        return out, "compiling" in complaints

    assert outcome(original) == (RELU_GIVES, True)
    assert outcome(edited) == ("-1.0 0.0 -3.0 0.0\n", True)
    assert outcome(original) == (RELU_GIVES, False)


@pytest.mark.slow
def test_two_processes_fill_an_empty_folder_at_once(tmp_path):
    """Each takes the dtypes in another order; a third one uses what they left."""
    code = """
import kernels, numpy as np
for dtype in DTYPES:
    x = np.linspace(-2, 2, 300).reshape(30, 10).astype(dtype)
    assert np.array_equal(kernels.relu(x, backend="numba"), np.maximum(x, 0))
    for operation in (kernels.softmax, kernels.log_softmax):
        got, wanted = operation(x, backend="numba"), operation(x, backend="naive")
        assert got.dtype == dtype
        assert np.allclose(got, wanted, rtol=1e-5, atol=1e-5)
print("right")
"""
    orders = ['("float32", "float64")', '("float64", "float32")']
    codes = [code.replace("DTYPES", order) for order in orders]
    assert run_all(codes, NUMBA_CACHE_DIR=str(tmp_path)) == ["right\n"] * 2
    files = compiled_files(tmp_path)
    assert len(files) == 7  # three tasks in two dtypes, and the loop that runs tasks
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {cache.SUFFIX}
    before = {file: file.stat().st_mtime_ns for file in files}
    assert run(codes[0], NUMBA_CACHE_DIR=str(tmp_path))[0] == "right\n"
    assert {file: file.stat().st_mtime_ns for file in compiled_files(tmp_path)} == before


def test_old_folders_are_removed_when_a_new_one_is_made(folder):
    day = 24 * 3600
    names = {"old": cache.DAYS_UNUSED + 1, "young": cache.DAYS_UNUSED - 1}
    for name, age in names.items():
        for prefix in (cache.FOLDER_PREFIX, "someone-elses-"):
            place = folder.parent / f"{prefix}{name}"
            place.mkdir(parents=True)
            (place / "file").write_text("code")
            os.utime(place, (time.time() - age * day,) * 2)
    doubled(X)
    left = {path.name for path in folder.parent.iterdir()}
    mine = {folder.name, f"{cache.FOLDER_PREFIX}young"}
    assert left == mine | {"someone-elses-old", "someone-elses-young"}


def test_use_keeps_a_folder_young(folder):
    doubled(X)
    os.utime(folder, (0, 0))
    cache._mark_as_used.cache_clear()
    doubled(X)
    assert time.time() - folder.stat().st_mtime < 3600


def test_compilation_is_announced_once(folder, caplog):
    with caplog.at_level(logging.INFO, "kernels"):
        doubled(X)
        doubled(X.astype("float32"))
    assert caplog.text.count("compiling the numba backend") == 1


WAITS = """
import sys
sys.path[0] = {root!r}  # not the folder where it is started
{relu}
print(flush=True)
sys.stdin.read()
"""


def _waiting(folder: Path, wanted: str) -> subprocess.Popen[str]:
    """Start a process that computes a ReLU and then waits; return it when it does."""
    settings = {"NUMBA_CACHE_DIR": str(folder), ahead.VARIABLE: wanted}
    code = WAITS.format(relu=RELU, root=str(ROOT))
    process = start(code, cwd=folder, stdin=subprocess.PIPE, **settings)
    assert process.stdout is not None
    assert process.stdout.readline() == RELU_GIVES
    return process


def _others(folder: Path) -> list[Path]:
    return [file for file in compiled_files(folder) if "dense" in file.name]


@pytest.mark.slow
@pytest.mark.skipif(kernels.threads.largest() == 1, reason="needs a second CPU")
def test_a_second_process_compiles_ahead_as_long_as_the_first_one_runs(tmp_path):
    """Also where there is a folder of the package's name, which is not looked into."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("open('loaded', 'w').close()")
    process = _waiting(tmp_path, "1")
    limit = time.monotonic() + 120
    while not _others(tmp_path) and time.monotonic() < limit:
        time.sleep(0.2)
    process.communicate()
    assert _others(tmp_path)
    time.sleep(1)
    found = compiled_files(tmp_path)
    time.sleep(5)
    assert compiled_files(tmp_path) == found
    assert not (tmp_path / "loaded").exists()


def test_all_that_is_to_be_compiled_ahead_is_needed(monkeypatch):
    """By a training step of ``mnist_cnn``, or by a prediction of one image or several."""
    needed = set()

    def recording(numbers, *others):
        first = driver.HEADER
        for _ in range(numbers[driver.PHASES]):
            needed.add(int(numbers[first + driver.TASK]))
            first += driver.PHASE
        execute(numbers, *others)

    execute = tables.execute
    for module in (tables, tasks):
        monkeypatch.setattr(module, "execute", recording)
    model, x = cnn.models.mnist_cnn(), np.zeros((32, 1, 28, 28), "float32")
    cnn.Trainer(model, backend="numba").step(x, np.arange(32) % 10)
    with kernels.use_backend("numba"):
        model.predict_proba(x)
        model.predict_proba(x[:1])
    listed = {
        name: prepare(x.dtype)
        for name, prepare in zip(ahead.NEEDED, ahead.preparers(), strict=True)
    }
    assert listed.pop("driver.prepare") is None
    assert len(driver.run_tables.signatures) == 1  # what was compiled ahead is what is called
    assert [name for name, address in listed.items() if address not in needed] == []


@pytest.mark.slow
def test_compiling_ahead_can_be_switched_off(tmp_path):
    process = _waiting(tmp_path, "0")
    time.sleep(8)
    process.communicate()
    assert compiled_files(tmp_path)
    assert _others(tmp_path) == []


@pytest.fixture
def commands(folder, monkeypatch):
    """The commands of processes that are started, where nothing was compiled yet."""
    started = []
    monkeypatch.delenv(ahead.VARIABLE, raising=False)
    monkeypatch.setattr(ahead, "largest", lambda: 2)
    monkeypatch.setattr(ahead, "kept_code", list)
    monkeypatch.setattr(ahead, "can_keep", lambda: True)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    return started


@pytest.mark.parametrize(
    ("executable", "frozen", "expected"),
    [(sys.executable, False, 1), (sys.executable, True, 0), ("", False, 0), (None, False, 0)],
)
def test_a_frozen_application_is_not_started_again(
    executable, frozen, expected, commands, monkeypatch
):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    ahead.start.__wrapped__(X.dtype)
    assert len(commands) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["peak._multiply_adds_of_thread-float32-0.jit", "driver.run_tables-parallel-0.jit"], 1),
        (["driver.run_tables-parallel-0.jit", "activation._gate_block-float32-0.jit"], 0),
    ],
)
def test_what_doctor_compiles_to_measure_keeps_nothing_from_being_compiled_ahead(
    files, expected, commands, monkeypatch
):
    monkeypatch.setattr(ahead, "kept_code", lambda: [Path(file) for file in files])
    ahead.start.__wrapped__(X.dtype)
    assert len(commands) == expected


@pytest.mark.compiled
def test_nothing_compiles_beside_a_measurement(folder, monkeypatch):
    started = []
    monkeypatch.setattr(ahead, "start", started.append)
    for alone, expected in ((True, []), (False, [X.dtype])):
        task = tasks.Task(peak._multiply_adds_of_thread, name=f"alone-{alone}", alone=alone)
        task.address(X.dtype)
        assert started == expected

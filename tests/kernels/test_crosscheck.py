"""The cross-check passes what is right and finds what is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import command
from kernels.backends import numpy as numpy_backend
from kernels.crosscheck.operations import OPERATIONS
from kernels.crosscheck.running import drawn, faults, known_operations
from kernels.lazy import NOWHERE
from tests.kernels.broken import broken

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "einsum_backend"


def off_by_one_in_padding():
    def conv2d(x, weight, bias, geometry, *, out):
        height = geometry.height
        if height.before and height.after:
            moved = dataclasses.replace(height, before=height.before - 1, after=height.after + 1)
            geometry = dataclasses.replace(geometry, height=moved)
        numpy_backend.conv2d(x, weight, bias, geometry, out=out)

    return {"conv2d": conv2d}


def dropped_group():
    def conv2d_backward_weight(grad_y, x, geometry, *, out):
        numpy_backend.conv2d_backward_weight(grad_y, x, geometry, out=out)
        if geometry.groups > 1:
            out[-(geometry.out_channels // geometry.groups) :] = 0

    return {"conv2d_backward_weight": conv2d_backward_weight}


def wrong_tie():
    """Let the last of equal maxima win instead of the first."""

    def max_pool2d(x, geometry, *, out, indices):
        flipped, places = (np.empty(geometry.y_shape, d) for d in (x.dtype, np.int32))
        height, width = (
            dataclasses.replace(
                axis,
                before=(axis.outputs - 1) * axis.stride + axis.span - axis.before - axis.size,
            )
            for axis in (geometry.height, geometry.width)
        )
        if min(height.before, width.before) < 0:
            numpy_backend.max_pool2d(x, geometry, out=out, indices=indices)
            return
        turned = dataclasses.replace(geometry, height=height, width=width)
        numpy_backend.max_pool2d(x[:, :, ::-1, ::-1], turned, out=flipped, indices=places)
        out[...] = flipped[:, :, ::-1, ::-1]
        indices[...] = x.shape[2] * x.shape[3] - 1 - places[:, :, ::-1, ::-1]

    return {"max_pool2d": max_pool2d}


def stale_mean():
    means = {}

    def batch_norm_backward(grad_y, x, weight, mean, rstd, *, grad_x, grad_weight, grad_bias):
        stale = means.get(len(mean), mean).astype(mean.dtype)
        means[len(mean)] = mean
        numpy_backend.batch_norm_backward(
            grad_y,
            x,
            weight,
            stale,
            rstd,
            grad_x=grad_x,
            grad_weight=grad_weight,
            grad_bias=grad_bias,
        )

    return {"batch_norm_backward": batch_norm_backward}


def lost_update():
    """Now and then miss an image, as threads do that add to the same sum at once."""
    calls = itertools.count()

    def conv2d_backward_weight(grad_y, x, geometry, *, out):
        if next(calls) % 5 == 4 and geometry.batch > 1:
            grad_y = grad_y.copy()
            grad_y[-1] = 0
        numpy_backend.conv2d_backward_weight(grad_y, x, geometry, out=out)

    return {"conv2d_backward_weight": conv2d_backward_weight}


def mask_that_stops_nan():
    def join_backward(grad_y, position, y, reads, relu, pool, *, out):
        y = np.nan_to_num(y, nan=-1.0)
        return numpy_backend.join_backward(grad_y, position, y, reads, relu, pool, out=out)

    return {"join_backward": join_backward}


def uncentred_read():
    """Fold the mean into the shift, which loses what a large mean leaves."""

    def conv_forward(read, weight, bias, geometry, *, stats, out, pooled=None):
        if read.mean is not None:
            shift = read.shift - read.scale * read.mean
            read = read._replace(mean=np.zeros_like(read.mean), shift=shift)
        return numpy_backend.conv_forward(
            read, weight, bias, geometry, stats=stats, out=out, pooled=pooled
        )

    return {"conv_forward": conv_forward}


def pooling_by_the_largest_before_batch_norm():
    def conv_forward(read, weight, bias, geometry, *, stats, out, pooled=None):
        if pooled is not None:
            pooled = pooled._replace(weight=None)
        return numpy_backend.conv_forward(
            read, weight, bias, geometry, stats=stats, out=out, pooled=pooled
        )

    return {"conv_forward": conv_forward}


def sums_in_front_of_the_mask():
    def conv_backward(pull, read, weight, geometry, *, add=None, grad_x, grad_weight, grad_bias):
        keywords = dict(add=add, grad_weight=grad_weight, grad_bias=grad_bias)
        other = None if grad_x is None else np.empty_like(grad_x)
        unmasked = read._replace(relu=False)
        sums = numpy_backend.conv_backward(
            pull, unmasked, weight, geometry, grad_x=other, **keywords
        )
        numpy_backend.conv_backward(pull, read, weight, geometry, grad_x=grad_x, **keywords)
        return sums

    return {"conv_backward": conv_backward}


def gradient_through_relus_zeros():
    def join_forward(reads, relu, pool, *, out, position):
        numpy_backend.join_forward(reads, relu, pool, out=out, position=position)
        if position is not None:
            position[position == NOWHERE] = 0

    return {"join_forward": join_forward}


FAULTS = [
    off_by_one_in_padding,
    dropped_group,
    wrong_tie,
    stale_mean,
    lost_update,
    mask_that_stops_nan,
    uncentred_read,
    pooling_by_the_largest_before_batch_norm,
    sums_in_front_of_the_mask,
    gradient_through_relus_zeros,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_broken_kernel_is_caught(fault):
    replaced = fault()
    report = kernels.check_backend(broken(**replaced), operations=list(replaced), cases=100)
    assert not report.passed
    (operation,) = report.operations
    assert operation.worst > 1
    assert f"python -m kernels check --backend broken --op {operation.operation}" in str(report)


def test_the_line_that_is_printed_runs_the_case_again(capsys, monkeypatch):
    monkeypatch.setattr("kernels.dispatch._registered", {})
    kernels.register_backend("broken", broken(**off_by_one_in_padding()))
    assert command.main(["check", "--backend", "broken", "--op", "conv2d", "--seed", "3"]) == 1
    again = capsys.readouterr().out.splitlines()[-1].partition("again: python -m kernels ")[2]
    assert command.main(again.split()) == 1
    assert command.main([*again.replace("broken", "numpy").split()]) == 0


def test_other_ways_of_being_wrong():
    def relu(x, *, out):
        x.flags.writeable = True
        np.maximum(x, 0, out=x)
        out[...] = x

    def softmax(logits, *, out):
        raise ZeroDivisionError("by hand")

    def linear(x, weight, bias, *, out):
        out[...] = np.nan

    for replaced, message in (
        ({"relu": relu}, "an input was modified"),
        ({"softmax": softmax}, "raised ZeroDivisionError: by hand"),
        ({"linear": linear}, "inf times what is allowed"),
    ):
        report = kernels.check_backend(broken(**replaced), operations=list(replaced), cases=60)
        assert not report.passed
        assert message.removeprefix("inf ") in str(report)
        assert report.operations[0].worst == np.inf


def test_a_reference_of_another_shape_or_dtype_is_a_fault():
    case = drawn("relu", 0, 3)
    (x,) = case.arguments
    for wanted in (x.ravel()[:1], x.astype(np.float16)):
        found = [fault for _, fault in faults("relu", case, "numpy", lambda *_, w=wanted: (w,))]
        assert f"part 0 is {x.dtype} {x.shape}, not {wanted.dtype} {wanted.shape}" in found


def test_unknown_operations_are_refused():
    with pytest.raises(kernels.ShapeError, match=r"operations must be among conv2d, .*'conv3d'"):
        kernels.check_backend("numpy", operations=["conv3d"])


def test_what_is_right_passes(fast_backend):
    report = kernels.check_backend(fast_backend, cases=25, seed=7)
    assert report.passed, str(report)
    assert [operation.cases for operation in report.operations] == [25] * len(known_operations())


def test_a_module_is_registered_for_the_check_only():
    before = kernels.available_backends()
    assert kernels.check_backend(broken(), operations=["relu"], cases=3).backend == "broken"
    assert kernels.available_backends() == before


def test_every_public_operation_is_checked():
    operations = {
        name
        for name in kernels.__all__
        if name.islower() and "backend" in getattr(kernels, name).__annotations__
    }
    assert operations - {"check_backend"} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "cuda"], "error: backend must be one of 'naive', 'numpy', 'numba'"),
        (["--cases", "0"], "error: cases must be 1 or more, got 0"),
        (["--seed", "-1"], "error: seed must be 0 or more, got -1"),
    ],
)
def test_bad_input_to_the_command(arguments, message, capsys):
    assert command.main(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""


def test_misspelt_options_of_the_command(capsys):
    for arguments in (["check", "--op", "conv3d"], ["chek"], ["check", "--case", "x"], []):
        with pytest.raises(SystemExit) as stopped:
            command.main(arguments)
        assert stopped.value.code == 2
        assert "error: " in capsys.readouterr().err


def test_register_backend_refuses_what_is_no_backend():
    incomplete = broken()
    del incomplete.softmax
    with pytest.raises(TypeError, match=r"backend 'x' must have a function softmax\(logits, out\)"):
        kernels.register_backend("x", incomplete)
    with pytest.raises(
        TypeError, match=r"'x': relu must have the parameters \(x, out\), got \(x\)"
    ):
        kernels.register_backend("x", broken(relu=lambda x: None))
    for name in ("numpy", ""):
        with pytest.raises((ValueError, TypeError), match="name must"):
            kernels.register_backend(name, broken())
    assert "x" not in kernels.available_backends()


def test_register_backend_makes_it_available(monkeypatch):
    monkeypatch.setattr("kernels.dispatch._registered", {})
    module = broken(relu=lambda x, *, out: out.fill(7))
    module.relu = lambda x, *, out: out.fill(7)
    kernels.register_backend("sevens", module)
    kernels.register_backend("sevens", module)  # the same again is no mistake
    assert kernels.available_backends()[-1] == "sevens"
    with kernels.use_backend("sevens"):
        assert kernels.relu(np.zeros(2)).tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="another backend, got 'sevens'"):
        kernels.register_backend("sevens", broken())


def test_the_example_backend_plugs_in_by_its_entry_point(tmp_path):
    """As if installed: its package beside a dist-info folder that names the entry point."""
    shutil.copytree(EXAMPLE / "einsum_backend", tmp_path / "einsum_backend")
    information = tmp_path / "einsum_backend-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: einsum-backend\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text(
        "[cnn_kernels.backends]\neinsum = einsum_backend\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "kernels", "check", "--backend", "einsum", "--cases", "20"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(result.stdout.splitlines()) == 1 + len(known_operations())

"""Summaries: counted by hand for LeNet-5, and the command."""

from __future__ import annotations

import numpy as np
import pytest

import cnn
import kernels
from cnn import cli
from cnn.fusion import plans
from cnn.layers.base import Layer


def test_lenet5_by_hand() -> None:
    summary = cnn.summarize(cnn.models.lenet5())
    rows = [(row.layer, row.output_shape, row.parameters, row.flops) for row in summary.rows]
    assert rows == [
        ("Conv2d", (6, 28, 28), 156, 6 * 28 * 28 * 2 * 25),
        ("ReLU", (6, 28, 28), 0, 6 * 28 * 28),
        ("AvgPool2d", (6, 14, 14), 0, 6 * 14 * 14 * 4),
        ("Conv2d", (16, 10, 10), 2416, 16 * 10 * 10 * 2 * 150),
        ("ReLU", (16, 10, 10), 0, 1600),
        ("AvgPool2d", (16, 5, 5), 0, 16 * 25 * 4),
        ("Flatten", (400,), 0, 0),
        ("Linear", (120,), 48_120, 96_000),
        ("ReLU", (120,), 0, 120),
        ("Linear", (84,), 10_164, 20_160),
        ("ReLU", (84,), 0, 84),
        ("Linear", (10,), 850, 1_680),
    ]
    assert summary.parameters == 61_706
    assert summary.flops == sum(flops for *_, flops in rows)


def test_parts_of_residual_layers_have_rows() -> None:
    model = cnn.models.resnet20()
    summary = cnn.summarize(model)
    assert summary.parameters == 269_722
    names = [row.name for row in summary.rows]
    assert len(set(names)) == len(names)
    assert {name.rpartition(".")[0] for name in model.named_parameters()} <= set(names)
    shapes = {row.name: row.output_shape for row in summary.rows}
    assert shapes["9.body.0"] == shapes["9.shortcut"] == shapes["9"] == (32, 16, 16)
    flops = {row.name: row.flops for row in summary.rows}
    assert flops["0"] == 16 * 32 * 32 * (2 * 27 - 1)
    assert flops["9"] == 32 * 16 * 16
    assert 81e6 < summary.flops < 84e6  # the paper's network: 41 million multiply-adds


def test_the_shape_may_be_another_or_must_be_given() -> None:
    model = cnn.Sequential(cnn.Conv2d(2, 4, 3), cnn.BatchNorm2d(4), cnn.MaxPool2d(2))
    summary = cnn.summarize(model, (2, 6, 6))
    assert [row.output_shape for row in summary.rows] == [(4, 4, 4), (4, 4, 4), (4, 2, 2)]
    assert [row.flops for row in summary.rows] == [64 * 36, 128, 16 * 3]
    with pytest.raises(TypeError, match="input_shape must be a tuple of integers, got None"):
        cnn.summarize(model)
    with pytest.raises(kernels.ShapeError, match=r"input_shape\[1\] must be 1 or more, got 0"):
        cnn.summarize(model, (2, 0, 6))
    with pytest.raises(kernels.ShapeError):
        cnn.summarize(model, (3, 6, 6))


def test_layers_of_others_count_their_parameters() -> None:
    class Scale(Layer):
        def __init__(self) -> None:
            self.factor = cnn.Parameter(np.ones(3, np.float32))

        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            return x * self.factor.data

        def backward(self, grad_y: np.ndarray) -> np.ndarray:
            return grad_y

        def named_parameters(self) -> dict[str, cnn.Parameter]:
            return {"factor": self.factor}

    (row,) = cnn.summarize(Scale(), (3,)).rows
    assert (row.name, row.layer, row.parameters, row.flops) == ("", "Scale", 3, 0)


def test_the_command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(["summary", "--model", "lenet5"]) == 0
    shown = capfd.readouterr().out
    for expected in ("lenet5", "Conv2d", "6 × 28 × 28", "1 × 28 × 28", "48,120", "61,706"):
        assert expected in shown
    arguments = ["--model", "resnet20", "--input-shape", "3x32x32", "--num-classes", "100"]
    assert cli.main(["summary", *arguments]) == 0
    shown = capfd.readouterr().out
    assert f"{269_722 + 90 * 65:,}" in shown
    assert "relu(norm(#4) + #2)" in shown
    assert "67 buffers of" in shown


def test_the_plan_says_what_was_fused_and_where_it_is() -> None:
    plan = plans.plan(cnn.models.mnist_cnn(), 8)
    assert [step.computes for step in plan.steps] == [
        "Conv2d 0 of input, moments for 1",
        "Conv2d 3 of relu(norm(#1)), moments for 4, max-pool 2×2",
        "relu(norm(#2))",
        "Flatten 7 of #3",
        "Linear 8 of #4",
        "BatchNorm1d 9 of #5",
        "relu(#6)",
        "Linear 11 of #7",
    ]
    first, _, pooled, flat = plan.steps[:4]
    assert first.output_shape == (16, 28, 28)
    assert first.nbytes == 8 * 16 * 28 * 28 * 4
    assert pooled.nbytes == 8 * 32 * 14 * 14 * 4
    assert flat.nbytes is flat.offset is None
    assert sum(step.nbytes or 0 for step in plan.steps) < plan.nbytes < plan.nbytes_apart
    with pytest.raises(TypeError, match="input_shape must be a tuple of integers, got None"):
        plans.plan(cnn.Sequential(cnn.ReLU()))
    assert plans.plan(cnn.Sequential(cnn.ReLU()), 2, (3, 1, 1)).steps[0].computes == "relu(input)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg"], "num-classes: model must be one of 'mnist_cnn', 'lenet5', 'resnet20'"),
        (["--input-shape", "28"], "--input-shape must be CxHxW, as in 3x32x32; got '28'"),
        (["--input-shape", "axbxc"], "--input-shape must be CxHxW, as in 3x32x32; got 'axbxc'"),
        (["--model", "lenet5", "--input-shape", "1x8x8"], "input_shape[1] must be 12 or more"),
        (["--num-classes", "0"], "num_classes must be 1 or more, got 0"),
        (["--batch-size", "1"], "--batch-size must be 2 or more, got 1"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["summary", *arguments]) == 2
    captured = capfd.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""

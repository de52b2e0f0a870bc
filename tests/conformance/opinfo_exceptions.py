"""Samples of PyTorch's that are out of scope, with the reason. Each is run, and has to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exclusion:
    """Which samples, and why."""

    operators: tuple[str, ...]
    covers: Callable[[Any], bool]
    reason: str


EXCLUSIONS = (
    Exclusion(
        ("nn.functional.conv2d", "nn.functional.max_pool2d"),
        lambda sample: sample.input.ndim == 3,
        "unbatched: images are (N, C, H, W)",
    ),
    Exclusion(
        ("nn.functional.linear", "softmax"),
        lambda sample: sample.input.ndim < 2,
        "unbatched: rows are (N, I) and (N, K)",
    ),
    Exclusion(
        ("nn.functional.batch_norm",),
        lambda sample: sample.input.ndim < 2,
        "no channels: batches are (N, C, ...), with C 1 or more",
    ),
    Exclusion(
        ("softmax",),
        lambda sample: sample.input.numel() == 0,
        "deliberate: a softmax over no classes is refused, where PyTorch returns nothing",
    ),
    Exclusion(
        ("softmax",),
        lambda sample: sample.kwargs.get("dtype", sample.input.dtype) is not sample.input.dtype,
        "conversion: a result has the dtype of its arguments",
    ),
    Exclusion(
        ("nn.functional.cross_entropy",),
        lambda sample: sample.args[0].is_floating_point(),
        "probabilities for labels: labels are integers",
    ),
    Exclusion(
        ("nn.functional.cross_entropy",),
        lambda sample: "weight" in sample.kwargs,
        "class weights: softmax_cross_entropy is the plain mean",
    ),
    Exclusion(
        ("nn.functional.cross_entropy",),
        lambda sample: "ignore_index" in sample.kwargs,
        "ignore_index: softmax_cross_entropy counts every label",
    ),
)


def reason_for(operator: str, sample: Any) -> str | None:
    """Return why a sample is out of scope, None if it is not."""
    for exclusion in EXCLUSIONS:
        if operator in exclusion.operators and exclusion.covers(sample):
            return exclusion.reason
    return None

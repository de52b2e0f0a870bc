"""The peer of a recipe is trained as the recipe says: it comes to the same losses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import recipes
from cnn.settings import Settings
from tests.bench import small_images

SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.05, "weight_decay": 0.001}


@pytest.mark.parametrize("more", [{}, SGD], ids=["adamw", "sgd"])
def test_the_same_settings_train_alike_in_pytorch(more: dict[str, object], tmp_path: Path) -> None:
    settings = replace(small_images.settings(tmp_path), epochs=2, validation=0.25, **more)
    ours, theirs = (history(settings, system, tmp_path) for system in recipes.MODULES)
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
        for name in ("test_accuracy", "validation_accuracy"):
            assert other[name] == pytest.approx(one[name], abs=1.5 / 24)  # one image


def history(settings: Settings, system: str, folder: Path) -> list[dict[str, float]]:
    recipes.train(settings, 5, system, 1, folder)
    epochs: list[dict[str, float]] = json.loads((folder / "run" / "metrics.json").read_text())[
        "epochs"
    ]
    return epochs

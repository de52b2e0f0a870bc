"""A recipe that takes a second: a few images, one epoch."""

from __future__ import annotations

from pathlib import Path

from cnn.settings import Settings
from tests import banded


def settings(folder: Path) -> Settings:
    """Write 96 images to train on and 32 to test on; return a recipe for them."""
    file = folder / "images.npz"
    banded.write(file, train=96, test=32, pixels=12)
    return Settings(
        backend="numpy",
        dataset=str(file),
        normalize=True,
        shift=0.5,
        epochs=1,
        batch_size=16,
        optimizer="adamw",
        lr=0.004,
        weight_decay=0.05,
        schedule="one-cycle",
    )

"""Recipes: trainings whose settings were chosen on validation data, measured on the test data.

Each runs through ``python -m cnn train``, a seed after the other, and in PyTorch as well, in turn:
``bench.contestants.torch_training`` takes the same settings.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from bench import turns
from bench.selection import SelectionError
from cnn.data.idx_folder import holds_idx
from cnn.settings import Settings

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its IDX files."""

CNN, TORCH = "numba", "torch channels_last"
MODULES = {CNN: ("cnn", "train"), TORCH: ("bench.contestants.torch_training",)}


@dataclass(frozen=True)
class Recipe:
    """A training that is repeated with several seeds.

    Attributes
    ----------
    title : str
        What is trained on.
    settings : Settings
        Of all runs, but for the seed and the folder.
    seeds : int
        So many, from 0.
    systems : tuple of str
        Who runs it.
    """

    title: str
    settings: Settings
    seeds: int
    systems: tuple[str, ...]

    @property
    def command(self) -> str:
        """What a user types."""
        return " ".join(["python -m cnn train", *options(self.settings)])


class Training(TypedDict):
    """A finished run.

    ``training_seconds`` are those of all steps, with putting together and moving their images;
    ``whole_seconds`` those of the process, with imports, loading, tests after each epoch, results.
    """

    seed: int
    test_accuracy: float
    training_seconds: float
    whole_seconds: float


DIGITS = Recipe(
    "the 5,000 digits of the package",
    Settings(
        backend="numba",
        normalize=True,
        shift=2.0,
        rotation=10.0,
        epochs=10,
        batch_size=16,
        optimizer="adamw",
        lr=0.003,
        schedule="one-cycle",
    ),
    seeds=5,
    systems=(CNN, TORCH),
)


def fashion(folder: Path) -> Recipe:
    """Return the recipe for Fashion-MNIST, whose IDX files are in a folder.

    Raises
    ------
    SelectionError
        If they are not.
    """
    if not holds_idx(folder):
        raise SelectionError(
            f"fashion must be the folder of Fashion-MNIST's IDX files, got {str(folder)!r}; "
            f"Debian's package dataset-fashion-mnist makes {FASHION_MNIST}"
        )
    settings = Settings(
        backend="numba",
        dataset=str(folder),
        normalize=True,
        epochs=4,
        batch_size=128,
        optimizer="sgd",
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=0.0005,
        schedule="one-cycle",
    )
    return Recipe("Fashion-MNIST, 60,000 images", settings, seeds=3, systems=(CNN, TORCH))


def measure(recipes: Sequence[Recipe], threads: int, folder: Path) -> dict[str, Any]:
    """Run recipes one after the other; return what they came to, ready for JSON.

    The first one should be cheap: it compiles what the others need, if that was not done before.
    """
    found = [
        {
            "title": recipe.title,
            "command": recipe.command,
            "runs": _measure(recipe, threads, folder),
        }
        for recipe in recipes
    ]
    return {"threads": threads, "torch": version("torch"), "recipes": found}


def _measure(recipe: Recipe, threads: int, folder: Path) -> Mapping[str, list[Training]]:
    """Run a recipe with all seeds; the systems take turns at being first."""
    runs: dict[str, list[Training]] = {system: [] for system in recipe.systems}
    for seed in range(recipe.seeds):
        order = recipe.systems if seed % 2 == 0 else reversed(recipe.systems)
        for system in order:
            run = train(recipe.settings, seed, system, threads, folder)
            print(recipe.title, system, run, sep=", ", file=sys.stderr, flush=True)
            runs[system].append(run)
    return runs


def train(settings: Settings, seed: int, system: str, threads: int, folder: Path) -> Training:
    """Train in a process of its own.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; what it said is on stderr.
    """
    settings = replace(settings, seed=seed, out=str(folder / "run"))
    if system == CNN:
        arguments = options(settings)
    else:
        file = folder / "settings.json"
        file.write_text(json.dumps(asdict(settings)))
        arguments = [str(file)]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", *MODULES[system], *arguments],
        cwd=turns.ROOT,
        env=turns.environment(threads, folder),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    whole = time.perf_counter() - started
    epochs = json.loads((folder / "run" / "metrics.json").read_text())["epochs"]
    return Training(
        seed=seed,
        test_accuracy=epochs[-1]["test_accuracy"],
        training_seconds=sum(epoch["seconds"] for epoch in epochs),
        whole_seconds=whole,
    )


def options(settings: Settings) -> list[str]:
    """Return the command line of settings that are not the default ones."""
    chosen: list[str] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        name = "--" + field.name.replace("_", "-")
        values = value if isinstance(value, tuple) else (value,)
        for each in values:
            chosen += [name] if each is True else [name, _text(each)]
    return chosen


def _text(value: object) -> str:
    """Return a value as one types it: 2, not 2.0."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)

"""Recipes: their command lines, small trainings, and how the README shows them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict

import pytest

from bench import cli, readme, recipes
from cnn.settings import Settings
from tests.bench import small_images
from tests.robustness.kill_and_resume import Tally


def test_options_are_the_settings_that_differ():
    assert recipes.options(Settings()) == []
    chosen = Settings(batch_size=8, lr=1e-05, shift=2.0, resume=True, log=("csv", "jsonl"))
    assert " ".join(recipes.options(chosen)) == (
        "--shift 2 --batch-size 8 --lr 1e-05 --resume --log csv --log jsonl"
    )


@pytest.mark.slow
def test_a_recipe_is_run_as_its_settings_say(tmp_path):
    settings = small_images.settings(tmp_path)
    found = recipes.train(settings, 3, recipes.CNN, 1, tmp_path)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    asked = {"shift": 0.5, "batch_size": 16, "optimizer": "adamw", "lr": 0.004, "seed": 3}
    assert asked.items() <= metrics["settings"].items()
    assert found["seed"] == 3
    assert found["test_accuracy"] == metrics["epochs"][-1]["test_accuracy"]
    assert 0 < found["training_seconds"] < found["whole_seconds"]


def test_a_training_that_fails_is_no_measurement(tmp_path):
    settings = Settings(dataset=str(tmp_path / "nothing.npz"))
    with pytest.raises(subprocess.CalledProcessError):
        recipes.train(settings, 0, recipes.CNN, 1, tmp_path)


def test_fashion_mnist_is_missed_before_anything_is_measured(tmp_path, capsys):
    arguments = ["readme", "--part", "recipes", "--fashion", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "dataset-fashion-mnist" in capsys.readouterr().err


def shown(part, found, tmp_path, monkeypatch):
    """What the README would say if a part had been measured so."""
    measured = json.loads(readme.MEASURED.read_text()) | {part: found}
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(measured))
    monkeypatch.setattr(readme, "MEASURED", file)
    return readme.rendered(readme.README.read_text())


def test_the_readme_shows_means_and_medians(tmp_path, monkeypatch):
    def runs(*figures):
        return [
            dict(seed=0, test_accuracy=a, training_seconds=s, whole_seconds=2 * s)
            for a, s in figures
        ]

    recipe = {
        "title": "digits",
        "command": "python -m cnn train --lr 1",
        "runs": {"numba": runs((0.9, 5), (0.91, 1), (0.92, 2)), "torch": runs((1, 3))},
    }
    found = {"threads": 2, "torch": "2.0", "conditions": "Measured.", "recipes": [recipe]}
    text = shown("recipes", found, tmp_path, monkeypatch)
    assert "\npython -m cnn train --lr 1\n" in text
    assert "| digits: numba | **0.9100** (0.9000, 0.9100, 0.9200) | 2.0 | 4.0 |" in text
    assert "| digits: torch | **1.0000** (1.0000) | 3.0 | 6.0 |" in text


def test_the_readme_shows_kills(tmp_path, monkeypatch):
    tally = Tally(starting=3, training=[1, 2, 0, 0, 0, 0, 0, 0, 0, 4], finishing=5, completed=7)
    found = {"kills": tally.kills, **asdict(tally), "seconds": 90, "conditions": "Measured."}
    text = shown("kills", found, tmp_path, monkeypatch)
    assert "`make kills`: 15 processes" in text
    assert "3 before a step was done, 7 in the training" in text
    assert "**0** of them with other bits" in text

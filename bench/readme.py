"""``make readme``: measure what README.md claims, and write it there.

Training and tests run in a fresh clone of the last commit with an empty Numba cache, speeds and the
cross-check in this checkout. What was measured goes to docs/measured.json, docs/bench.json
and docs/bench-full.json,
pictures to docs/images; README.md gets what :func:`rendered` makes of them, between its markers.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Collection, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from bench import claims, recipes, results, running, scaling, selection, shares, tables
from bench.turns import ROOT
from cnn import environment
from cnn.files import replacing

README = ROOT / "README.md"
DOCS = ROOT / "docs"
MEASURED = DOCS / "measured.json"
BENCH = DOCS / "bench.json"
BENCH_FULL = DOCS / "bench-full.json"
IMAGES = DOCS / "images"

TRAINING, RECIPES, TESTS, CROSSCHECK = "training", "recipes", "tests", "crosscheck"
KILLS, BENCHMARK, ALL_CASES = "kills", "bench", "bench-full"
PARTS = (TRAINING, RECIPES, TESTS, CROSSCHECK, KILLS, BENCHMARK, ALL_CASES)
NOT_YET = ["Not measured yet."]
SPEED_PICTURES = ("speedups.png", "roofline.png", "scaling.png")


def publish(
    parts: Collection[str],
    benchmark: Callable[[str, Path], results.Run],
    tried: Sequence[recipes.Recipe],
) -> None:
    """Measure the named parts, keep the others as they were measured before, and write README.md.

    Parameters
    ----------
    parts : collection of str
        Out of PARTS.
    benchmark : callable
        Makes a run of a suite and writes its pictures into the folder it is given.
    tried : sequence of Recipe
        What the part RECIPES trains with.
    """
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone, cache = claims.clone(ROOT, folder), folder / "cache"
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            TRAINING: lambda: claims.measure_training(clone, cache, IMAGES),
            RECIPES: lambda: recipes.measure(tried, running.most_threads(), folder),
            TESTS: lambda: claims.measure_tests(clone, cache),
            CROSSCHECK: claims.measure_crosscheck,
            KILLS: claims.measure_kills,
        }
        for part, measure in measures.items():
            if part in parts:
                measured[part] = measure() | {"conditions": _conditions()}
        if BENCHMARK in parts:
            benchmark(selection.QUICK, folder).write(BENCH)
            for picture in SPEED_PICTURES:
                shutil.copyfile(folder / picture, IMAGES / picture)
        if ALL_CASES in parts:
            benchmark(selection.FULL, folder).write(BENCH_FULL)
    with replacing(MEASURED) as temporary:
        temporary.write_text(json.dumps(measured, indent=2) + "\n")
    with replacing(README) as temporary:
        temporary.write_text(rendered(README.read_text()))


def rendered(text: str) -> str:
    """Return README text with its measured sections made anew from what is in docs."""
    measured, run = json.loads(MEASURED.read_text()), results.load(BENCH)
    sections = {
        "speed": _speed(run),
        "costs": _costs(run),
        "all-cases": _all_cases(results.load(BENCH_FULL)) if BENCH_FULL.exists() else NOT_YET,
        "training": _training(measured[TRAINING]),
        "recipes": _recipes(measured[RECIPES]) if RECIPES in measured else NOT_YET,
        "tests": _tests(measured[TESTS]),
        "crosscheck": _crosscheck(measured[CROSSCHECK]),
        "kills": _kills(measured[KILLS]) if KILLS in measured else NOT_YET,
    }
    for name, lines in sections.items():
        begin, end = markers(name)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = "\n".join([before + begin, *lines, end + after])
    return text


def markers(name: str) -> tuple[str, str]:
    """Return the comments around a measured section."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def _speed(run: results.Run) -> list[str]:
    return [
        "![Speed of the numba backend and of its peers over the numpy backend]"
        "(docs/images/speedups.png)",
        "",
        *tables.summary(run),
        "",
        tables.conditions(run),
    ]


def _costs(run: results.Run) -> list[str]:
    return [
        tables.READING,
        "",
        *tables.best_rows(run),
        "",
        "![Roofline](docs/images/roofline.png)",
        "",
        "![Growth with threads, batch and image size](docs/images/scaling.png)",
        "",
        *tables.training_runs(run),
    ]


def _all_cases(run: results.Run) -> list[str]:
    return [
        *tables.summary(run),
        "",
        *(part for line in scaling.of_convolutions(run) for part in (line, "")),
        *(part for line in shares.sentence(run) for part in (line, "")),
        tables.conditions(run),
        "",
        "<details><summary>Every case</summary>",
        "",
        *tables.best_rows(run),
        "",
        "</details>",
    ]


def _training(training: dict[str, Any]) -> list[str]:
    accuracies = training["test_accuracy_by_seed"]
    by_seed = ", ".join(f"{a:.3f}" for a in accuracies)
    rows = [
        [
            f"test accuracy after `make train`, mean of seeds 0 to {len(accuracies) - 1}",
            f"**{statistics.mean(accuracies):.3f}** ({by_seed})",
        ],
        [
            "images trained on per second, `--backend numba`",
            f"{training['images_per_second']:,.0f}",
        ],
        [
            "first `make train` ever: set-up, compilation and all",
            f"{training['cold_seconds']:.0f} s, of it {training['compile_seconds']:.0f} s "
            "compilation",
        ],
        ["second `make train`, all of it", f"{training['warm_seconds']:.1f} s"],
        [
            "second `make train`, to the first training step",
            f"{training['warm_seconds_to_first_step']:.1f} s",
        ],
    ]
    return [*tables.table(["what", "measured"], rows), "", training["conditions"]]


def _recipes(measured: dict[str, Any]) -> list[str]:
    """Return the commands, and a table with a row for each recipe and who ran it."""
    lines, rows = [], []
    for recipe in measured["recipes"]:
        lines += [recipe["command"]]
        for system, runs in recipe["runs"].items():
            accuracies = [run["test_accuracy"] for run in runs]
            by_seed = ", ".join(f"{a:.4f}" for a in accuracies)
            rows.append(
                [
                    f"{recipe['title']}: {system}",
                    f"**{statistics.mean(accuracies):.4f}** ({by_seed})",
                    f"{statistics.median(run['training_seconds'] for run in runs):.1f}",
                    f"{statistics.median(run['whole_seconds'] for run in runs):.1f}",
                ]
            )
    head = ["recipe", "test accuracy, mean (each seed)", "training, s", "whole process, s"]
    return [
        "```sh",
        *lines,
        "```",
        "",
        *tables.table(head, rows),
        "",
        f"Times are medians over the seeds, on {measured['threads']} threads each. PyTorch "
        f"{measured['torch']} gets the same first weights, images, order and settings, and its "
        f"fastest memory format and optimiser; who runs first alternates. {measured['conditions']}",
    ]


def _tests(tests: dict[str, Any]) -> list[str]:
    rows = [
        [f"`make test PYTHON={name}`, set-up included", f"{run['seconds']:.0f} s: {run['summary']}"]
        for name, run in tests["by_python"].items()
    ]
    without = "Run without `tests/test_readme.py`, which compares this page with this measurement."
    lines = tables.table(["command, in a fresh clone", "measured"], rows)
    return [*lines, "", f"{tests['conditions']} {without}"]


def _crosscheck(checked: dict[str, Any]) -> list[str]:
    """Return a table with a row for each operation and columns for each backend."""
    backends = list(checked["worst"])
    rows = [
        [operation, *(f"{checked['worst'][backend][operation]:.2f}" for backend in backends)]
        for operation in checked["worst"][backends[0]]
    ]
    return [
        f'`make crosscheck ARGS="--cases {checked["cases"]}"`, random cases of each operation: '
        f"{sum(checked['failed'].values())} cases failed. Largest error as a share of what is "
        "allowed (0 where results have to be equal):",
        "",
        *tables.table(["operation", *backends], rows),
        "",
        checked["conditions"],
    ]


def _kills(killed: dict[str, Any]) -> list[str]:
    return [
        f"`make kills`: {killed['kills']} processes of a training killed (SIGKILL) at moments "
        f"drawn evenly from start to end, and resumed: {killed['starting']} before a step was "
        f"done, {sum(killed['training'])} in the training (by tenths of it: "
        f"{', '.join(map(str, killed['training']))}), {killed['finishing']} after it. "
        f"{killed['completed']} trainings came to their end, **{killed['different']}** of them "
        f"with other bits than one that nobody killed. It took {killed['seconds'] / 60:.0f} "
        "minutes.",
        "",
        killed["conditions"],
    ]


def _conditions() -> str:
    machine, versions = environment.machine(), environment.versions()
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout.strip()
    return (
        f"Measured at commit {commit}, {date.today().isoformat()}: {machine['cpu']}, "
        f"{machine['usable_cores']} cores, with Python {versions['python']}, "
        f"NumPy {versions['numpy']}, Numba {versions['numba']}."
    )

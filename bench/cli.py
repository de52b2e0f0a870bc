"""The command line: ``python -m bench``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench import (
    cases,
    comparison,
    contestants,
    estimate,
    pictures,
    readme,
    recipes,
    results,
    running,
    selection,
    tables,
)
from bench.case_types import PASSES
from bench.progress import Display
from bench.turns import ROOT
from cnn import environment
from cnn.cli import USAGE_ERROR
from cnn.files import replacing

RESULTS = ROOT / "results"
REPORT = "report.md"
FAILED, BAD_INPUT = 1, 2
GENERATIONS_FOR_README = 2
"""Of all cases: a third would take 10 minutes more."""

app = typer.Typer(
    name="bench", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
Folder = Annotated[Path, typer.Option(help="Folder that runs and reports are kept in.")]


@app.callback()
def commands() -> None:
    """Time the backends of this project, and their peers where those are installed.

    Each contestant is a process of its own; they compute in turn, after their results were checked.
    """


@app.command()
def run(
    suite: Annotated[
        str,
        typer.Option(help=f"One of: quick, full, {', '.join(cases.SUITES)}."),
    ] = selection.QUICK,
    case: Annotated[
        list[str] | None,
        typer.Option(help="Only cases whose id matches, like 'mnist-*'; may be repeated."),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only this contestant; may be repeated. One of: {', '.join(contestants.NAMES)}."
        ),
    ] = None,
    pass_name: Annotated[
        list[str] | None,
        typer.Option(
            "--pass", help=f"Only this pass; may be repeated. One of: {', '.join(PASSES)}."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each contestant; all CPUs if left out.")
    ] = None,
    generations: Annotated[
        int | None,
        typer.Option(
            min=1, help="How often all processes are started anew, at most; 6, or 3 for full."
        ),
    ] = None,
    folder: Folder = RESULTS,
) -> None:
    """Measure, save the run, and write a report with pictures; exit with 1 if one was refused."""
    items = selection.items(suite, case or (), pass_name or ())
    plan = running.Plan(
        suite=suite,
        items=items,
        names=_names(backend),
        threads=_threads(threads),
        generations=generations or _generations(suite),
        seconds=math.inf if generations else running.SECONDS.get(suite, math.inf),
        whole=not (case or backend or pass_name),
    )
    found = _run(plan)
    path = found.save(folder)
    typer.echo(f"took {found.duration_seconds:.0f} s; saved as {path}")
    _write_report(found, folder)
    if plan.whole and suite == selection.QUICK:
        minutes = estimate.full_seconds(found, plan) / 60
        typer.echo(f"`make bench-full`, all cases, takes about {minutes:.0f} minutes here")
    for refusal in found.refused:
        typer.echo(
            f"refused: {refusal.contestant}, {refusal.case} {refusal.pass_name}: {refusal.reason}",
            err=True,
        )
    if found.refused:
        raise typer.Exit(FAILED)


@app.command()
def report(folder: Folder = RESULTS) -> None:
    """Write table and pictures of the last run that was saved on this machine."""
    _write_report(results.load(_saved(folder, 1)[-1]), folder)


@app.command()
def compare(folder: Folder = RESULTS) -> None:
    """Show what became slower or faster between the last two runs; exit with 1 if slower."""
    old, new = (results.load(path) for path in _saved(folder, 2)[-2:])
    found = comparison.changes(old, new)
    typer.echo(comparison.report(old, new, found))
    if any(change.verdict == "slower" for change in found):
        raise typer.Exit(FAILED)


@app.command("readme")
def publish_readme(
    part: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Measure only this part; may be repeated. One of: {', '.join(readme.PARTS)}."
        ),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Measure nothing, only write README.md anew.")
    ] = False,
    fashion: Annotated[
        Path, typer.Option(help="Folder of Fashion-MNIST's IDX files, for the recipes.")
    ] = recipes.FASHION_MNIST,
) -> None:
    """Measure what README.md claims, beside PyTorch and ONNX Runtime, and write it there."""
    for name in part or ():
        if name not in readme.PARTS:
            raise selection.SelectionError(
                f"part must be one of {', '.join(readme.PARTS)}; got {name!r}"
            )
    parts = () if render else tuple(part or readme.PARTS)
    tried = (recipes.DIGITS, recipes.fashion(fashion)) if readme.RECIPES in parts else ()
    beside_peers = {readme.BENCHMARK, readme.ALL_CASES, readme.RECIPES}
    if beside_peers & set(parts) and (missing := _missing_peers()):
        raise selection.SelectionError(f"the README compares with peers, but {missing}")
    readme.publish(parts, _run_for_readme, tried)


@app.command("list")
def list_cases() -> None:
    """Show the cases there are, with their passes; those of the quick suite have a star."""
    for suite, table in cases.SUITES.items():
        typer.echo(f"{suite}:")
        for one in table:
            star = "*" if one.id in cases.QUICK else " "
            shape = "×".join(map(str, one.x_shape))
            typer.echo(f"  {star} {one.id:32}{shape:18}{', '.join(one.passes)}")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 2, and one line on stderr, for bad input."""
    try:
        code = app(arguments, prog_name="python -m bench", standalone_mode=False)
    except (selection.SelectionError, results.ResultsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except USAGE_ERROR as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        return BAD_INPUT
    return code if isinstance(code, int) else 0


def _run(plan: running.Plan) -> results.Run:
    names = ", ".join(plan.names)
    typer.echo(f"{len(plan.items)} passes, {names}, {plan.threads} threads", err=True)
    with Display() as display:
        return running.run(plan, display.show)


def _run_for_readme(suite: str, folder: Path) -> results.Run:
    names, generations = _names(None), _generations(suite)
    if suite == selection.FULL:  # beside the peers; by NumPy it takes an hour more
        names = [name for name in names if name not in ("naive", "numpy")]
        generations = GENERATIONS_FOR_README
    plan = running.Plan(
        suite=suite,
        items=selection.items(suite),
        names=names,
        threads=_threads(None),
        generations=generations,
        whole=suite == selection.QUICK,
    )
    found = _run(plan)
    if plan.whole:
        pictures.draw(found, folder)
    return found


def _generations(suite: str) -> int:
    return running.GENERATIONS.get(suite, running.GENERATIONS[selection.QUICK])


def _missing_peers() -> str:
    return "; ".join(dict.fromkeys(why for why in contestants.available().values() if why))


def _names(chosen: list[str] | None) -> list[str]:
    """Return the contestants to take part; numpy and numba are compared with, so are the peers."""
    available = contestants.available()
    for name in chosen or ():
        if name not in available:
            raise selection.SelectionError(
                f"backend must be one of {', '.join(available)}; got {name!r}"
            )
        if available[name] is not None:
            raise selection.SelectionError(f"{name} cannot take part: {available[name]}")
    return [n for n, lacks in available.items() if lacks is None and (not chosen or n in chosen)]


def _threads(chosen: int | None) -> int:
    most = running.most_threads()
    if chosen is not None and chosen > most:
        raise selection.SelectionError(f"threads must be at most {most}, the CPUs; got {chosen}")
    return chosen or most


def _saved(folder: Path, least: int) -> list[Path]:
    paths = results.saved(folder, dict(environment.machine()))
    if len(paths) < least:
        raise results.ResultsError(
            f"{least} saved run{'s are' if least > 1 else ' is'} needed, {folder} has {len(paths)} "
            "of this machine; `make bench` makes one"
        )
    return paths


def _write_report(found: results.Run, folder: Path) -> None:
    drawn = pictures.draw(found, folder)
    with replacing(folder / REPORT) as temporary:
        temporary.write_text(tables.report(found, drawn))
    typer.echo("\n".join(tables.summary(found)))
    typer.echo(f"{folder}: {', '.join([REPORT, *(name for _, name in drawn)])}")

"""A run as Markdown: what was found, in words and tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench import contestants, shares
from bench.case_types import (
    AvgPoolCase,
    BatchNormCase,
    ConvCase,
    LinearCase,
    NetworkCase,
    PoolCase,
    ReluCase,
)
from bench.contestants import OURS
from bench.results import DISTURBED, FASTEST, TRUSTED_SPREAD, Ratio, Row, Run
from bench.scaling import growth_lines, of_convolutions, thread_lines
from bench.selection import case
from bench.turns import Item

BEST_PEER = "best peer"
ALIGN_LEFT, ALIGN_RIGHT = "---", "---:"


def report(run: Run, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """Return the whole report; ``pictures`` are (title, file name)."""
    parts = [
        "# Speeds of the backends",
        conditions(run),
        *[f"![{title}]({name})" for title, name in pictures],
        "## In short",
        "\n".join(summary(run)),
        *shares.sentence(run),
        "## Every case",
        READING,
        "\n".join(every_row(run)),
        *_refusals(run),
        "## The machine's limits",
        "\n".join(limits(run)),
    ]
    if run.training_runs:
        parts += [
            "## Threads and size",
            "\n".join([*thread_lines(run), "", *of_convolutions(run), "", *growth_lines(run)]),
        ]
        parts += ["## Training runs", "\n".join(training_runs(run))]
    return "\n\n".join(parts) + "\n"


KINDS: dict[str, tuple[type, ...]] = {
    "convolutions": (ConvCase,),
    "pools": (PoolCase, AvgPoolCase),
    "batch-norm": (BatchNormCase,),
    "ReLU": (ReluCase,),
    "linear layers": (LinearCase,),
    "the whole network": (NetworkCase,),
}

READING = (
    f"Time is the mean of the {FASTEST} fastest turns, spread how much slower their lower quartile "
    f"is; {DISTURBED} marks rows, and ratios with rows, of more than {TRUSTED_SPREAD:.0%} spread. "
    "GFLOP/s count a direct convolution's operations and stand beside the percentage of what "
    "multiply-adds alone reached in numba's turns on it. GB/s count each input and result once and "
    "stand beside the percentage of the bandwidth measured at that working set. The last columns "
    "say how many times as fast the row is."
)


def conditions(run: Run) -> str:
    """Return where, when, how and with what the run was made, in a sentence or two."""
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items() if value)
    missing = "; ".join(f"without {name}: {why}" for name, why in _grouped(run.missing).items())
    return (
        f"{run.machine['cpu']}, {run.machine['usable_cores']} cores, {run.threads} threads, "
        f"{run.started[:10]}, suite {run.suite}, {run.rounds} turns of each contestant in turn, "
        f"each in a process of its own; {versions}." + (f" {missing}." if missing else "")
    )


def summary(run: Run) -> list[str]:
    """Return a table with a row for each kind of case: geometric means of numba's speed."""
    others = _plain_backends(run)
    columns = [*others, *([BEST_PEER] if _peers(run) else [])]
    rows = []
    for title, kinds in KINDS.items():
        items = [item for item in run.items() if isinstance(case(item[0]), kinds)]
        cells = [_mean_speed(run, items, column) for column in columns]
        if any(cell != "" for cell in cells):
            rows.append([title, *cells])
    heads = [f"× {name}" for name in columns]
    return table(["numba's speed, geometric mean (passes)", *heads], rows)


def every_row(run: Run) -> list[str]:
    """Return the table with a row for each entrant on each pass of each case."""
    others = _plain_backends(run)
    heads = ["case", "pass", "contestant", "ms", "spread", "GFLOP/s or GB/s", "of the limit"]
    heads += [f"× {name}" for name in others]
    heads += ["× best peer"] if _peers(run) else []
    rows = []
    for item in run.items():
        for name in contestants.NAMES:
            row = run.row(item, name)
            if row:
                rows.append(_cells(run, row, others))
    return table(heads, rows, left=3)


def best_rows(run: Run, contestant: str = OURS) -> list[str]:
    """Return a table with one contestant's rows only."""
    others = _plain_backends(run)
    heads = ["case", "pass", "ms", "GFLOP/s or GB/s", "of the limit"]
    heads += [f"× {name}" for name in others]
    heads += ["× best peer", "which is"] if _peers(run) else []
    rows = []
    for item in run.items():
        row = run.row(item, contestant)
        if row:
            cells = _cells(run, row, others)
            peer = [run.best_peer(item) or ""] if _peers(run) else []
            rows.append([*cells[:2], cells[3], *cells[5:], *peer])
    return table(heads, rows, left=2)


def limits(run: Run) -> list[str]:
    """Return the roofline's numbers."""
    peaks = [
        f"{float(gflops):,.0f} with {threads} thread{'' if threads == '1' else 's'}"
        for threads, gflops in run.roofline["gflops_by_threads"].items()
    ]
    sizes = [
        [size(limit["working_set"]), f"{limit['gb_per_second']:,.0f}"]
        for limit in run.roofline["bandwidth"]
    ]
    heads = ["working set", f"GB/s, {run.threads} threads"]
    return [
        f"Float32 multiply-adds, GFLOP/s: {', '.join(peaks)}. Reading and writing (y = a·x):",
        "",
        *table(heads, sizes),
    ]


def training_runs(run: Run) -> list[str]:
    """Return what training costs beside its steps."""
    rows = [
        [
            name,
            f"{cost['import_seconds']:.1f}",
            f"{cost['first_step_seconds']:.1f}",
            f"{cost['growth_mib']:,.0f}",
        ]
        for name, cost in run.training_runs.items()
    ]
    heads = ["MNIST CNN, batch 128", "import, s", "first step, s", "memory above the import, MiB"]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return a Markdown table whose first ``left`` columns are text."""
    alignment = [ALIGN_LEFT] * left + [ALIGN_RIGHT] * (len(heads) - left)
    return [f"| {' | '.join(cells)} |" for cells in (heads, alignment, *rows)]


def times(value: Ratio | None) -> str:
    """Return a ratio as it stands in a table."""
    if value is None:
        return ""
    return f"{DISTURBED if value.disturbed else ''}{_factor(value.value)}"


def _cells(run: Run, row: Row, others: Sequence[str]) -> list[str]:
    item = row.item
    computes = row.flops > 0
    rate = f"{row.gflops:.3g} GFLOP/s" if computes else f"{row.gigabytes:.3g} GB/s"
    limit = run.peak_beside(item) if computes else run.bandwidth(row.bytes)
    share = (row.gflops if computes else row.gigabytes) / limit
    peer = run.best_peer(item)
    return [
        row.case,
        row.pass_name.replace("_", " "),
        row.contestant,
        _milliseconds(row.time),
        f"{DISTURBED if row.disturbed else ''}{row.spread:.0%}",
        rate,
        f"{share:.0%}",
        *(times(run.speed(item, row.contestant, name)) for name in others),
        *([times(run.speed(item, row.contestant, peer) if peer else None)] if _peers(run) else []),
    ]


def _refusals(run: Run) -> list[str]:
    if not run.refused:
        return []
    lines = [
        f"- {r.contestant}, {r.case} {r.pass_name.replace('_', ' ')}: {r.reason}"
        for r in run.refused
    ]
    return ["## Refused before timing", "\n".join(lines)]


def _mean_speed(run: Run, items: Sequence[Item], column: str) -> str:
    ratios = []
    for item in items:
        other = run.best_peer(item) if column == BEST_PEER else column
        speed = run.speed(item, OURS, other) if other else None
        if speed:
            ratios.append(speed.value)
    return f"{_factor(statistics.geometric_mean(ratios))} ({len(ratios)})" if ratios else ""


def _plain_backends(run: Run) -> list[str]:
    return [name for name in ("numpy", "naive") if any(r.contestant == name for r in run.rows)]


def _peers(run: Run) -> bool:
    return any(row.contestant in contestants.PEERS for row in run.rows)


def _grouped(missing: dict[str, str]) -> dict[str, str]:
    """Return reasons with the names that share them: {"torch, torch.compile": why}."""
    reasons = dict.fromkeys(missing.values())
    return {", ".join(n for n, why in missing.items() if why == r): r for r in reasons}


def _factor(value: float) -> str:
    if value >= 20:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(count: int) -> str:
    """Return a number of bytes as it stands in a table."""
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count // 2**10} KiB"

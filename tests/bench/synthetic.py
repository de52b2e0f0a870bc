"""Runs that were never made, for what is computed from runs."""

from __future__ import annotations

from bench import selection
from bench.results import Row, Run
from bench.roofline import Bandwidth, Roofline

CPU = "Some CPU (tm) 3000"


def row(case, pass_name, contestant, milliseconds, threads=2):
    """Return a row; ``milliseconds`` is one number for all turns, or one each."""
    turns = milliseconds if isinstance(milliseconds, list) else [milliseconds] * 20
    work = selection.case(case)
    return Row(
        case=case,
        pass_name=pass_name,
        contestant=contestant,
        threads=threads,
        seconds=[turn / 1e3 for turn in turns],
        check_seconds=0.1,
        flops=work.flops(pass_name),
        bytes=work.bytes(pass_name),
    )


def run(rows, **changes):
    """Return a run of those rows on a machine of 100 GFLOP/s and 80, then 20 GB/s."""
    limits = Roofline(
        gflops_by_threads={"1": 50.0, "2": 100.0},
        bandwidth=[
            Bandwidth(working_set=2**20, gb_per_second=80.0),
            Bandwidth(working_set=2**30, gb_per_second=20.0),
        ],
    )
    values = dict(
        started="2026-01-02T03:04:05+00:00",
        suite="quick",
        threads=2,
        rounds=20,
        machine={"cpu": CPU, "cores": 2, "usable_cores": 2, "os": "Linux"},
        versions={"python": "3.11", "torch": None},
        missing={},
        roofline=limits,
        rows=rows,
    )
    return Run(**(values | changes))


def usual_rows():
    """Return a convolution and a ReLU by numpy, numba and a peer, and what scaling needs."""
    rows = []
    for name, factor in (("numpy", 4.0), ("numba", 1.0), ("torch", 2.0)):
        rows += [
            row("mnist-conv2-b32", "forward", name, factor),
            row("mnist-conv2-b32", "forward", name, 2 * factor, threads=1),
            row("mnist-relu2-b32", "forward", name, 0.1 * factor),
        ]
        for item in selection.GROWING:
            shape = selection.case(item[0]).x_shape
            size = shape[0] if item[1] == "training_step" else shape[2] * shape[3]
            rows.append(row(*item, name, factor * size))
    return rows

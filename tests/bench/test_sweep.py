"""``python -m bench.sweep``: which neighbours there are, and which pairs are reported."""

from __future__ import annotations

import itertools
import json

import pytest

from bench import sweep
from bench.limits import Limits
from bench.neighbours import AXES, BASES, LEAST_MULTIPLY_ADDS, conv, neighbours


def ids(base, axis):
    return [other.id for changed, other in neighbours(base) if changed == axis]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("batch", ["b1-c8-9x9-o4-k3x3-p1x1-g2", "b3-c8-9x9-o4-k3x3-p1x1-g2"]),
        ("source channels", ["b2-c6-9x9-o4-k3x3-p1x1-g2", "b2-c10-9x9-o4-k3x3-p1x1-g2"]),
        ("target channels", ["b2-c8-9x9-o2-k3x3-p1x1-g2", "b2-c8-9x9-o6-k3x3-p1x1-g2"]),
        ("height", ["b2-c8-8x9-o4-k3x3-p1x1-g2", "b2-c8-10x9-o4-k3x3-p1x1-g2"]),
        ("width", ["b2-c8-9x8-o4-k3x3-p1x1-g2", "b2-c8-9x10-o4-k3x3-p1x1-g2"]),
        ("kernel", ["b2-c8-9x9-o4-k1x1-g2", "b2-c8-9x9-o4-k5x5-p2x2-g2"]),
        ("stride", ["b2-c8-9x9-o4-k3x3-p1x1-s2x2-g2"]),
        ("padding", ["b2-c8-9x9-o4-k3x3-g2", "b2-c8-9x9-o4-k3x3-p2x2-g2"]),
        ("dilation", ["b2-c8-9x9-o4-k3x3-p2x2-d2x2-g2"]),
        ("groups", ["b2-c8-9x9-o4-k3x3-p1x1", "b2-c8-9x9-o4-k3x3-p1x1-g4"]),
        ("number of groups", ["b2-c4-9x9-o2-k3x3-p1x1", "b2-c12-9x9-o6-k3x3-p1x1-g3"]),
    ],
)
def test_neighbours_differ_in_one_thing(axis, expected):
    assert ids(conv(2, 8, 9, 4, 3, groups=2), axis) == expected


def test_what_cannot_be_is_no_neighbour():
    base = conv(1, 1, 1, 1, 1)
    assert {axis: ids(base, axis) for axis in AXES} == {
        "batch": ["b2-c1-1x1-o1-k1x1"],
        "source channels": ["b1-c2-1x1-o1-k1x1"],
        "target channels": ["b1-c1-1x1-o2-k1x1"],
        "height": ["b1-c1-2x1-o1-k1x1"],
        "width": ["b1-c1-1x2-o1-k1x1"],
        "kernel": ["b1-c1-1x1-o1-k3x3-p1x1"],
        "stride": ["b1-c1-1x1-o1-k1x1-s2x2"],
        "padding": ["b1-c1-1x1-o1-k1x1-p1x1"],
        "dilation": ["b1-c1-1x1-o1-k1x1-d2x2"],
        "groups": [],
        "number of groups": [],
    }
    assert ids(conv(1, 1, 5, 1, 3, padding=(0, 0)), "kernel") == ["b1-c1-5x5-o1-k5x5-p1x1"]


def test_windows_keep_their_outputs_when_kernel_or_dilation_changes():
    base = conv(2, 8, (9, 11), 4, (3, 5), dilation=2)
    for axis in ("kernel", "dilation"):
        others = [other for changed, other in neighbours(base) if changed == axis]
        assert len(others) == 2
        assert {other.y_shape for other in others} == {base.y_shape}


def test_each_convolution_has_work_enough_for_its_fixed_cost_not_to_count():
    names = [base.id for base in BASES]
    assert len(names) == len(set(names))
    for base in BASES:
        for other in (base, *(case for _, case in neighbours(base))):
            assert other.flops("forward") >= 2 * LEAST_MULTIPLY_ADDS, other.id


NAME = BASES[0].id
SLOW = ids(BASES[0], "source channels")[0]


def steady(cases):
    """All passes take a picosecond for each multiply-add."""
    return [{name: case.flops(name) / 2e12 for name in case.passes} for case in cases]


def slower(*factors):
    """Return a timer: one neighbour's forward pass takes so many times as long, the first times."""
    left = list(factors)

    def timer(cases):
        times = steady(cases)
        for case, seconds in zip(cases, times, strict=True):
            if case.id == SLOW and left:
                seconds["forward"] *= left.pop(0)
        return times

    return timer


def machine(gflops=1e6, gigabytes=1e6, call_seconds=0.0):
    """Return what is measured of a machine that is ever so fast."""
    sets = [{"working_set": 2**n, "gb_per_second": gigabytes / n} for n in (15, 20, 30)]
    return lambda: Limits(gflops, {"gflops_by_threads": {}, "bandwidth": sets}, call_seconds)


@pytest.mark.parametrize(("factor", "status"), [(3.1, 1), (2.9, 0), (1 / 3.1, 1), (1 / 2.9, 0)])
def test_one_pair_beyond_the_limit_fails(factor, status, tmp_path, capsys):
    out = tmp_path / "sweep.json"
    arguments = [NAME, "--out", str(out)]
    assert sweep.main(arguments, slower(*[factor] * 3), machine(4000)) == status
    printed = capsys.readouterr().out
    assert f"{status} of {3 * len(neighbours(BASES[0]))} pairs differ more than 3 x" in printed
    first = next(line for line in printed.splitlines() if NAME in line)
    assert SLOW in first
    assert "forward" in first
    pairs = json.loads(out.read_text())["pairs"]
    assert len(pairs) == 3 * len(neighbours(BASES[0]))
    (found,) = [pair for pair in pairs if pair["ratio"] > 2]
    assert found["ratio"] == pytest.approx(max(factor, 1 / factor))
    assert (found["axis"], found["pass_name"]) == ("source channels", "forward")
    assert found["base"]["gflops"] == pytest.approx(2000)
    assert found["neighbour"] == {
        "case": SLOW,
        "gflops": pytest.approx(2000 / factor),
        "flops_per_byte": pytest.approx(57_802_752 / 6_627_840),
        "of_limit": pytest.approx(0.5 / factor),
    }


SLOWER = 57_802_752 * 3.1 / 2e12
"""Seconds of a pass that takes 3.1 times as long for each of its 57,802,752 FLOPs."""


@pytest.mark.parametrize(("share", "status"), [(0.72, 0), (0.68, 1)])
@pytest.mark.parametrize(
    "limits",
    [
        lambda least: machine(gflops=57_802_752 / least / 1e9),
        lambda least: machine(gigabytes=20 * 6_627_840 / least / 1e9),
        lambda least: machine(call_seconds=least),
    ],
    ids=["multiply-adds", "bytes", "call"],
)
def test_what_is_near_the_machines_limit_does_not_count(limits, share, status, capsys):
    assert sweep.main([NAME], slower(*[3.1] * 3), limits(share * SLOWER)) == status
    title = f"{status} of {3 * len(neighbours(BASES[0]))} pairs differ more than 3 x per multiply"
    printed = capsys.readouterr().out
    assert title in printed
    assert f"{1 - status} more, where the machine sets the pace" in printed
    assert f"{share:.0%}" in next(line for line in printed.splitlines() if NAME in line)


def test_limits_are_the_best_of_what_is_measured_before_and_after(capsys):
    measured = [machine(call_seconds=SLOWER), machine(call_seconds=0.5 * SLOWER)]
    timer = slower(*[3.1] * 3)
    assert sweep.main([NAME], timer, lambda: measured.pop()()) == 1
    assert not measured


@pytest.mark.parametrize(("factors", "status"), [((50, 50), 0), ((50, 50, 50), 1)])
def test_a_disturbed_time_is_taken_again(factors, status):
    assert sweep.main([NAME], slower(*factors), machine()) == status


def test_times_of_other_turns_are_no_pair(capsys):
    """A neighbour is disturbed at first, and later the machine is slow: 3.1 and 4 x, never both."""
    call = itertools.count()

    def timer(cases):
        at_first = next(call) == 0
        times = steady(cases)
        for case, seconds in zip(cases, times, strict=True):
            factor = (3.1 if case.id == SLOW else 1.0) if at_first else 4.0
            seconds["forward"] *= factor
        return times

    assert sweep.main([NAME], timer, machine()) == 0
    assert f"0 of {3 * len(neighbours(BASES[0]))} pairs differ" in capsys.readouterr().out


def test_quick_takes_fewer(capsys):
    taken = []

    def timer(cases):
        taken.append(cases[0])
        return steady(cases)

    assert sweep.main(["--quick"], timer, machine()) == 0
    assert taken == list(BASES[:: sweep.QUICK_STEP])


def test_an_unknown_base_is_refused(capsys):
    with pytest.raises(SystemExit):
        sweep.main(["b7-*"], steady, machine())
    assert f"base must match one of {NAME}" in capsys.readouterr().err


def test_passes_are_timed():
    (times,) = sweep.time_in_turn([conv(1, 2, 4, 3, 3)])
    assert set(times) == {"forward", "backward_input", "backward_weight"}
    assert all(0 < seconds < 1 for seconds in times.values())

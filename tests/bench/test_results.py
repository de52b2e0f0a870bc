"""Statistics, saved runs, comparison, tables and pictures, on made-up times."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import (
    comparison,
    estimate,
    pictures,
    results,
    running,
    scaling,
    selection,
    shares,
    tables,
)
from bench.case_types import ConvCase
from tests.bench import synthetic
from tests.bench.synthetic import row, run, usual_rows

CONV = ("mnist-conv2-b32", "forward")
RELU = ("mnist-relu2-b32", "forward")


def test_time_is_the_mean_of_the_fastest_turns():
    assert row(*CONV, "numba", [9, 1, 2, 3, 8]).time == pytest.approx(2e-3)
    assert row(*CONV, "numba", [4]).time == pytest.approx(4e-3)


def test_rows_whose_turns_differ_are_disturbed():
    assert not row(*CONV, "numba", [1.0, 1.1, 1.05, 1.1, 5.0, 1.0]).disturbed
    assert row(*CONV, "numba", [1.0, 1, 1] + [2] * 10).disturbed


def test_rates_and_limits():
    found = run(usual_rows())
    conv, relu = found.row(CONV, "numba"), found.row(RELU, "numba")
    assert conv.gflops == pytest.approx(conv.flops / 1e-3 / 1e9)
    assert relu.gigabytes == pytest.approx(relu.bytes / 1e-4 / 1e9)
    assert found.peak_gflops == 100
    assert found.bandwidth(1000) == 80
    assert found.bandwidth(2**21) == found.bandwidth(2**40) == 20


def test_speeds_and_the_best_peer():
    rows = [*usual_rows(), row(*CONV, "torch channels_last", 1.5)]
    found = run(rows)
    assert found.speed(CONV, "numba", "numpy").value == pytest.approx(4)
    assert found.best_peer(CONV) == "torch channels_last"
    assert found.best_peer(("mnist-fc1-b32", "forward")) is None
    assert found.speed(CONV, "numba", "naive") is None
    assert not [item for item in found.items() if item in selection.GROWING]


def test_scaling_with_threads_and_size():
    found = run(usual_rows())
    assert scaling.by_threads(found, CONV, "numba")[2].value == pytest.approx(2)
    assert scaling.exponent(scaling.by_batch(found, "numba")) == pytest.approx(1)
    assert [size for size, _ in scaling.by_image(found, "numpy")] == [256, 1024, 4096, 16384]


def test_all_convolutions_of_ours_are_timed_with_one_thread_too_in_the_full_suite():
    found = run([*usual_rows(), row("mnist-conv1-b32", "forward", "numba", [3.0], threads=1)])
    (line,) = scaling.of_convolutions(found)
    assert "2 threads over 1: 2.00, geometric mean of 1 passes" in line
    assert scaling.of_convolutions(run(usual_rows(), threads=1)) == []

    def entrants(suite, whole):
        plan = running.Plan(
            suite, selection.items(suite), ["numba", "torch"], threads=2, generations=1, whole=whole
        )
        return {str(entrant): items for entrant, items in plan.entrants(0).items()}

    alone = entrants("full", whole=False)
    assert set(alone) == {"numba@2", "torch@2", "numba@1"}
    assert len(alone["numba@1"]) > 60
    assert {type(selection.case(name)) for name, _ in alone["numba@1"]} == {ConvCase}
    assert set(entrants("full", whole=True)) == {"numba@2", "torch@2", "numba@1", "torch@1"}
    assert set(entrants("quick", whole=False)) == {"numba@2", "torch@2"}


def test_shares_are_of_the_peak_that_was_measured_in_the_same_turns():
    with_peaks = [
        replace(one, peaks=[100 * one.threads, 90, 95, 80])
        if (one.item, one.contestant) == (CONV, "numba")
        else one
        for one in usual_rows()
    ]
    found = run(with_peaks)
    gflops, peak = found.row(CONV, "numba").gflops, (200 + 95 + 90) / 3
    assert found.peak_beside(CONV) == pytest.approx(peak)
    assert found.peak_beside(("mnist-conv1-b32", "forward")) == 100
    assert shares.of_peak(found) == {CONV: pytest.approx(gflops / peak)}
    of_numba = next(line for line in tables.best_rows(found) if line.startswith(f"| {CONV[0]}"))
    assert f"{gflops / peak:.0%}" in of_numba
    (line,) = scaling.of_convolutions(found)
    assert line.endswith(f"multiply-adds alone {peak / 95:.2f}.")


def test_passes_short_of_the_share_that_is_aimed_for_are_named():
    others = [one for one in usual_rows() if one.contestant != "numba"]
    work = selection.case(CONV[0]).flops(CONV[1])
    short, enough = (
        run([*others, row(*CONV, "numba", work / gflops / 1e6)]) for gflops in (69, 71)
    )
    assert shares.sentence(short)[0].endswith("; not mnist-conv2-b32 forward 69%.")
    assert "1 passes" in shares.sentence(enough)[0]
    assert "; not " not in shares.sentence(enough)[0]
    few_channels = ("imagenet-conv1-b8", "forward")
    assert shares.sentence(run([row(*few_channels, "numba", 1.0)])) == []
    assert shares.sentence(run([row(*RELU, "numba", 1.0)])) == []


def test_a_saved_run_comes_back(tmp_path):
    found = run(usual_rows(), refused=[results.Refusal("numba", *CONV, "wrong")])
    path = found.save(tmp_path)
    assert results.load(path) == found
    assert results.saved(tmp_path, found.machine) == [path]
    before_peaks = json.loads(path.read_text())
    for saved in before_peaks["rows"]:
        del saved["peaks"]
    path.write_text(json.dumps(before_peaks))
    assert results.load(path) == found
    assert results.saved(tmp_path, found.machine | {"cpu": "another"}) == []


def test_rows_of_cases_that_are_no_more_are_left_out(tmp_path):
    path = run(usual_rows()).save(tmp_path)
    path.write_text(path.read_text().replace("mnist-relu2-b32", "mnist-relu2-b33"))
    assert results.load(path).items() == [CONV]


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"format": 0}', '{"format": 1, "x": 2}'])
def test_what_is_no_saved_run_is_refused(tmp_path, damage):
    path = tmp_path / "run.json"
    path.write_text(damage)
    with pytest.raises(results.ResultsError, match=r"run\.json is not a saved run"):
        results.load(path)


def test_table_has_every_row_and_peers_only_where_there_are_some():
    text = tables.report(run(usual_rows()))
    assert (
        "| mnist-conv2-b32 | forward | numba | 1 | 0% | 231 GFLOP/s | 231% | 4.00 | 2.00 |" in text
    )
    assert "| convolutions | 4.00 (1) | 2.00 (1) |" in text
    assert "GB/s" in text
    alone = tables.report(run([r for r in usual_rows() if r.contestant != "torch"]))
    assert "best peer" not in alone
    assert "× naive" not in alone


def test_naive_and_disturbed_and_refused_are_shown():
    rows = [
        row("digits-conv2-b1", "forward", "naive", [100.0, 101.0]),
        row("digits-conv2-b1", "forward", "numpy", [1.0, 1.0, 1.0] + [3.0] * 20),
    ]
    refused = [results.Refusal("numba", "digits-conv2-b1", "forward", "part 0 is off by 3")]
    text = tables.report(run(rows, refused=refused, missing={"torch": "torch is not installed"}))
    assert "~200%" in text
    assert "~100" in text
    assert "- numba, digits-conv2-b1 forward: part 0 is off by 3" in text
    assert "without torch: torch is not installed" in text


def test_pictures_without_data_are_left_out(tmp_path):
    assert pictures.draw(run([row(*RELU, "numpy", 1.0)]), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_drawn(tmp_path):
    drawn = pictures.draw(run(usual_rows()), tmp_path)
    assert sorted(name for _, name in drawn) == ["roofline.png", "scaling.png", "speedups.png"]
    for _, name in drawn:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def slower(rows, contestant, factor):
    """Return the rows with one contestant's times multiplied."""
    return [
        row(r.case, r.pass_name, r.contestant, [1e3 * s * factor for s in r.seconds], r.threads)
        if r.contestant == contestant
        else r
        for r in rows
    ]


def verdicts(old, new, speed=1.0):
    """Return who became what on a machine that now has ``speed`` times its peak."""
    before, now = run(old), run(new)
    peaks = {n: gflops * speed for n, gflops in now.roofline["gflops_by_threads"].items()}
    now.roofline = now.roofline | {"gflops_by_threads": peaks}
    return {(c.new.contestant, c.verdict) for c in comparison.changes(before, now)}


def test_a_slower_kernel_is_told_from_a_slower_machine():
    before = usual_rows()
    everyone = before
    for name in ("numpy", "numba", "torch"):
        everyone = slower(everyone, name, 2)
    assert verdicts(before, everyone, 0.5) == {("numba", ""), ("numpy", "")}
    assert verdicts(before, slower(everyone, "numba", 1.4), 0.5) == {
        ("numba", "slower"),
        ("numpy", ""),
    }
    assert verdicts(before, slower(before, "numpy", 0.5)) == {("numba", ""), ("numpy", "faster")}


def test_changes_within_the_noise_do_not_count():
    noisy = [row(*CONV, "numba", [1.0, 1.0, 1.0] + [1.6] * 20), row(*CONV, "numpy", 1.0)]
    assert verdicts(noisy, slower(noisy, "numba", 1.4)) == {("numba", ""), ("numpy", "")}
    assert ("numba", "slower") in verdicts(noisy, slower(noisy, "numba", 1.8))


def test_comparison_report_names_what_changed():
    old, new = run(usual_rows()), run(slower(usual_rows(), "numba", 2.0))
    text = comparison.report(old, new, comparison.changes(old, new))
    assert "| mnist-conv2-b32 | forward | numba, 2 threads | 1 | 2 | 2.00 | ±25% | slower |" in text


def test_the_full_suite_takes_longer_than_the_quick_one_and_longer_on_a_slower_machine():
    names = ["numpy", "numba"]
    plan = running.Plan("quick", selection.items(), names, threads=2, generations=5)
    fast = estimate.full_seconds(run(usual_rows(), duration_seconds=100.0), plan)
    rows = slower(slower(usual_rows(), "numpy", 20), "numba", 20)
    assert fast > 100
    assert estimate.full_seconds(run(rows, duration_seconds=100.0), plan) > fast


def test_machines_have_folders_of_their_own():
    assert (
        results.machine_id({"cpu": synthetic.CPU, "usable_cores": 2}) == "some-cpu-tm-3000-2-cores"
    )


def test_run_is_plain_json(tmp_path):
    content = json.loads(run(usual_rows()).save(tmp_path).read_text())
    assert content["format"] == results.FORMAT
    assert content["rows"][0]["seconds"] == [0.004] * 20

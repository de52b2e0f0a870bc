"""README.md shows what was measured, and nothing that was typed in."""

from __future__ import annotations

import re

from bench import readme


def test_measured_sections_are_what_the_script_makes_of_the_measurements():
    text = readme.README.read_text()
    for name in ("speed", "costs", "training", "recipes", "tests", "crosscheck", "kills"):
        for marker in readme.markers(name):
            assert text.count(marker) == 1
    assert readme.rendered(text) == text


def test_a_figure_that_was_typed_in_is_seen():
    text = readme.README.read_text()
    begin, end = readme.markers("costs")
    before, _, rest = text.partition(begin)
    section, _, after = rest.partition(end)
    assert readme.rendered(before + begin + section.replace("1", "2") + end + after) == text


def test_pictures_and_links_exist():
    text = readme.README.read_text()
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert len(targets) >= 2
    for target in targets:
        assert (readme.ROOT / target).is_file(), target


def test_every_make_target_named_exists():
    makefile = (readme.ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", readme.README.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

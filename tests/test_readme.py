"""README.md shows what was measured, and nothing that was typed in."""

from __future__ import annotations

import json
import re

from bench import readme


def test_measured_part_is_what_the_script_makes_of_the_measurements():
    text = readme.README.read_text()
    measured = json.loads(readme.MEASURED.read_text())
    assert text.count(readme.BEGIN) == text.count(readme.END) == 1
    assert readme.with_measured(text, measured) == text


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

"""Looking something up by the name a user typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(what: str, table: Mapping[str, T], name: str) -> T:
    """Return ``table[name]``.

    Raises
    ------
    ValueError
        If the table has no such name; the message lists those it has.
    """
    if name not in table:
        names = ", ".join(repr(known) for known in table)
        raise ValueError(f"{what} must be one of {names}; got {name!r}")
    return table[name]

"""A case of the cross-check: one call, and how far each part of its result may be off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kernels.crosscheck.limits import LIMITS, Limit


@dataclass(frozen=True)
class Case:
    """Arguments of one call, and a limit for each part of its result.

    Attributes
    ----------
    arguments, keywords
        Of the call.
    limits
        One for each part of the result.
    origin
        The forward call that an argument comes from, for a reference that has to start there.
    """

    arguments: tuple[Any, ...]
    limits: tuple[Limit, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    origin: Case | None = None


def case(operation: str, *arguments: Any, origin: Case | None = None, **keywords: Any) -> Case:
    """Return a call of an operation as a case, with its limits."""
    limits = LIMITS[operation](*arguments, **keywords)
    return Case(arguments, limits, keywords, origin)

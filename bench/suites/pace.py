"""How long a turn is."""

TURN_SECONDS = 0.01
"""Of timed calls; one call if it takes longer."""

WARM_UP_SECONDS = 0.004
"""Before them, so that caches and threads are as in a loop of such calls."""

MOST_CALLS = 2000

"""The exceptions that the public functions raise before any work is done."""


class ShapeError(ValueError):
    """An argument's shape, size or range does not fit; the message says what would."""


class UnknownBackendError(ValueError):
    """No backend has that name; the message lists those there are."""

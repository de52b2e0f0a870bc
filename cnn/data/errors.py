"""The exception that readers of data files raise."""


class DataError(ValueError):
    """A data file is missing, damaged or not what it should be; the message names it."""

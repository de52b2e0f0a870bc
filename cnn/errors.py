"""The exception that training raises."""


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN; the message says when."""

    def __init__(self, when: str, loss: float) -> None:
        super().__init__(f"{when}: the loss is {loss}; a lower learning rate may help")

"""What a user got wrong."""


class BadInput(Exception):  # noqa: N818  it is the input that is bad
    """One line a mistake, each with the remedy."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class BackgroundError(Exception):
    """The background process could not take over; the message says where to read why."""

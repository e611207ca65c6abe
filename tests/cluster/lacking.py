"""What a test cluster lacks on this machine, and how to get it."""


class LackingError(Exception):
    """The cluster cannot be had here; the message says why and what to do, in a few plain lines."""

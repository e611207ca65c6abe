"""What a test cluster lacks on this machine, and how to get it."""

MISSING = 77
"""The exit status of pytest where a whole tier cannot run; tests/tiers.py reads it."""


class LackingError(Exception):
    """The cluster cannot be had here; the message says why and what to do, in a few plain lines."""

"""How this package speaks to the person who reads the pod's log."""

import sys


def say(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

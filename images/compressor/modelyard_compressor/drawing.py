"""How does a matplotlib figure become a picture in the page? SVG whose colours and fonts are the page's own."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

INK, MUTED, LINE = "#010101", "#020202", "#030303"
BASELINE, CANDIDATE, GOOD, BAD = "#040404", "#050505", "#060606", "#070707"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    BASELINE: "var(--baseline)",
    CANDIDATE: "var(--candidate)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
}
"""Each colour stands for a CSS variable, which light and dark mode set."""
_STYLE: dict[RcKeyType, object] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}
_WIDTH_INCHES = 5.2


class Picture:
    """A figure to draw on; ``svg`` holds its text once the ``drawing`` block has ended."""

    def __init__(self, height_inches: float) -> None:
        self.figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
        self.svg = ""


@contextmanager
def drawing(title: str, height_inches: float) -> Iterator[Picture]:
    """A picture as wide as the page's column; ``title`` is read out where pictures are not seen."""
    # Ids are hashes: a salt of its own keeps those of one picture apart from those of the others in the page.
    with rc_context(_STYLE), rc_context({"svg.hashsalt": title}):
        picture = Picture(height_inches)
        yield picture
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        picture.figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    picture.svg = _themed(buffer.getvalue(), title)


def _themed(svg: str, title: str) -> str:
    _, _, element = svg.partition("<svg")
    attributes, _, content = element.partition(">")
    view_box = attributes.split('viewBox="')[1].split('"')[0]
    for colour, variable in _VARIABLES.items():
        content = content.replace(colour, variable)
    return f'<svg role="img" aria-label="{title}" viewBox="{view_box}">{content}'

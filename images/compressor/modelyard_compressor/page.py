"""How does the report look? One HTML page that needs no other file and no network."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from modelyard_compressor import plots
from modelyard_compressor.report import Report

_TEMPLATE = "report.html"
_SPACE = "\u00a0"
"""Between a number and its unit: a line never breaks there."""


def render(report: Report) -> str:
    """The page, a function of the report alone."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=readable_size, figure=readable_figure, milliseconds=readable_milliseconds, percent=readable_percent
    )
    pictures = [
        ("Latency", "All timed calls, source and candidate in turns.", plots.latencies(report)),
        (
            "Work in int8",
            "Share of the multiply-accumulates in Conv, MatMul, Gemm and LSTM; the rest gains nothing.",
            plots.mac_shares(report),
        ),
        ("Noise by layer", "A low value marks a layer that suffers.", plots.layer_noise(report)),
        ("Accuracy against latency", "Every trial, and what the gates allow.", plots.trade_off(report)),
        ("Size by layer", "Weights before and after.", plots.layer_sizes(report)),
    ]
    return environment.get_template(_TEMPLATE).render(
        report=report,
        chosen=report.chosen,
        figures=report.chosen.figures,
        pictures=[picture for picture in pictures if picture[-1]],
        score=lambda value: readable_score(report.metric.name, value),
        loss=lambda value: readable_difference(report.metric.name, value),
        change=lambda value: readable_difference(report.metric.name, value, plus="+"),
    )


def readable_size(size_bytes: int) -> str:
    """To three significant digits, in the largest unit, powers of 1000, that leaves a number of at least 1."""
    value, units = float(size_bytes), ["B", "kB", "MB", "GB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g}{_SPACE}{units[0]}"


def readable_milliseconds(value: float) -> str:
    """To three significant digits."""
    return f"{value:.3g}{_SPACE}ms" if value < 999.5 else f"{value:.0f}{_SPACE}ms"


def readable_figure(decimal: str) -> str:
    """To four significant digits, with a true minus sign."""
    return f"{float(decimal):.4g}".replace("-", "−", 1)


def readable_percent(share: float) -> str:
    """A share from 0 to 1, to a tenth of a percent."""
    return f"{share * 100:.1f}{_SPACE}%"


def readable_score(metric: str, value: float) -> str:
    """Top1 and F1 in percent, others to four significant digits."""
    return f"{value * 100:.2f}{_SPACE}%" if metric in ("Top1", "F1") else f"{value:.4g}"


def readable_difference(metric: str, value: float, plus: str = "") -> str:
    """Top1 and F1 in percentage points, others to three digits; with a true minus sign, and ``plus`` for gains."""
    text = f"{value * 100:.2f}{_SPACE}pp" if metric in ("Top1", "F1") else f"{value:.3g}"
    if value == 0:
        return text.removeprefix("-")
    return text.replace("-", "−", 1) if value < 0 else plus + text

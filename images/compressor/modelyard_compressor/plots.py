"""What does the report draw? Five pictures, each a function of the report."""

import numpy as np
from matplotlib.axes import Axes

from modelyard_compressor.drawing import BAD, BASELINE, CANDIDATE, GOOD, INK, LINE, MUTED, drawing
from modelyard_compressor.report import Report
from modelyard_compressor.results import CandidateFigures, MeasuredTrial

_MOST_LAYERS = 12
_LONGEST_NAME = 30
_LONGEST_TAIL = 2
"""Tails are cut at so many times the slowest median, lest they squeeze all else."""


def latencies(report: Report) -> str:
    """How the latencies of source and selected candidate are distributed, one row a batch size."""
    rows = len(report.baseline.latencies)
    with drawing("Latency distributions", 0.6 + 1.7 * rows) as picture:
        axes = picture.figure.subplots(rows, squeeze=False)[:, 0]
        pairs = zip(axes, report.baseline.latencies, report.chosen.figures.latencies, strict=True)
        for ax, baseline, candidate in pairs:
            series = (("fp32", baseline, BASELINE), ("int8", candidate, CANDIDATE))
            both = np.concatenate([latency.samples_milliseconds for _, latency, _ in series])
            bins = np.linspace(both.min(), np.percentile(both, 95), 48)
            for label, latency, colour in series:
                median = latency.p50_milliseconds
                ax.hist(latency.samples_milliseconds, bins, histtype="stepfilled", color=colour, alpha=0.45)
                ax.axvline(median, color=colour, label=f"{label}, median {median:.3g} ms")
            ax.set_ylabel(f"batch {baseline.batch_size}")
            ax.tick_params(axis="y", labelleft=False, length=0)
            ax.grid(visible=False, axis="y")
            ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        axes[-1].set_xlabel("milliseconds a call (slowest 5 % not shown)")
    return picture.svg


def trade_off(report: Report) -> str:
    """Accuracy over median latency of every trial, with what the gates allow."""
    with drawing("Accuracy and latency of all trials", 3.4) as picture:
        ax = picture.figure.subplots()
        latency = report.baseline.latencies[0]
        x, y = latency.p50_milliseconds, report.baseline.accuracy
        ax.hlines(y, x, latency.p99_milliseconds, colors=BASELINE, alpha=0.5, lw=1)
        ax.plot(x, y, "s", color=BASELINE, label="fp32 source", ms=7, ls="none")
        for label, colour, passed in (("passed", GOOD, True), ("failed a gate", BAD, False)):
            _points(ax, report, [trial for trial in report.trials if trial.passed == passed], label, colour)
        chosen = report.chosen.figures
        x, y = chosen.latencies[0].p50_milliseconds, chosen.accuracy
        ax.plot(x, y, "o", ms=13, mfc="none", mec=INK, ls="none", label="selected")
        medians = [figures.latencies[0].p50_milliseconds for figures in (report.baseline, *_figures(report))]
        ax.set_xlim(0, min(ax.dataLim.x1 * 1.05, max(medians) * _LONGEST_TAIL))
        _limits(ax, report)
        ax.set_xlabel(f"median milliseconds at batch {latency.batch_size}, with a tail towards p99")
        ax.set_ylabel(report.metric.name)
        room = max(0.12 * ax.dataLim.height, 0.005 * abs(y), 1e-6)
        ax.set_ylim(ax.dataLim.y0 - room, ax.dataLim.y1 + room)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, handletextpad=0.2, columnspacing=1)
    return picture.svg


def _figures(report: Report) -> list[CandidateFigures]:
    return [trial.figures for trial in report.trials]


def _points(ax: Axes, report: Report, trials: list[MeasuredTrial], label: str, colour: str) -> None:
    for trial in trials:
        latency, figures = trial.figures.latencies[0], trial.figures
        x, y = latency.p50_milliseconds, figures.accuracy
        ax.hlines(y, x, latency.p99_milliseconds, colors=colour, alpha=0.5, lw=1)
        low, high = figures.accuracy_drop_interval.low, figures.accuracy_drop_interval.high
        ax.vlines(x, _after_drop(report, low), _after_drop(report, high), colors=colour, alpha=0.5, lw=1)
    xs = [trial.figures.latencies[0].p50_milliseconds for trial in trials]
    ys = [trial.figures.accuracy for trial in trials]
    if trials:
        ax.plot(xs, ys, "o", color=colour, label=label, ms=6, ls="none")


def _limits(ax: Axes, report: Report) -> None:
    limits, baseline = report.limits, report.baseline
    if limits.max_accuracy_drop is not None:
        y = _after_drop(report, limits.max_accuracy_drop)
        ax.axhline(y, color=MUTED, ls="--", lw=1)
        ax.annotate("accuracy limit", (1, y), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=8)
    marks = []
    if limits.min_speedup is not None:
        marks.append((baseline.latencies[0].p50_milliseconds / limits.min_speedup, "speedup limit (median)"))
    if limits.max_latency_p99_milliseconds is not None:
        marks.append((limits.max_latency_p99_milliseconds, "p99 limit"))
    _, right = ax.get_xlim()
    for x, label in marks:
        if x > right:
            continue
        ax.axvline(x, color=MUTED, ls="--", lw=1)
        ax.annotate(
            label,
            (x, 0),
            (-3, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            size=8,
        )


def _after_drop(report: Report, drop: float) -> float:
    return report.baseline.accuracy + (drop if report.metric.lower_is_better else -drop)


def mac_shares(report: Report) -> str:
    """The share of multiply-accumulates in int8, a bar a trial."""
    with drawing("Share of multiply-accumulates in int8", _height(len(report.trials))) as picture:
        ax = picture.figure.subplots()
        rows = np.arange(len(report.trials))
        shares = [trial.figures.int8_mac_share * 100 for trial in report.trials]
        ax.barh(rows, 100, color=LINE, height=0.55)
        ax.barh(rows, shares, color=CANDIDATE, height=0.55)
        for row, share in zip(rows, shares, strict=True):
            ax.annotate(f"{share:.1f} %", (103, row), va="center", color=INK)
        ax.set_xlim(0, 122)
        ax.set_xticks([0, 25, 50, 75, 100])
        ax.set_xlabel("percent")
        _name_rows(ax, [trial.name for trial in report.trials])
    return picture.svg


def layer_noise(report: Report) -> str:
    """The layers whose output quantization disturbs the most; empty text where it was not measured."""
    noise = [(layer.sqnr_decibels, layer.name) for layer in report.layers if layer.sqnr_decibels is not None]
    if not noise:
        return ""
    worst = sorted(noise)[:_MOST_LAYERS]
    with drawing("Noise by layer", _height(len(worst))) as picture:
        ax = picture.figure.subplots()
        bars = ax.barh(np.arange(len(worst)), [value for value, _ in worst], color=CANDIDATE, height=0.55)
        ax.bar_label(bars, fmt="%.1f", padding=4, color=INK)
        ax.margins(x=0.12)
        ax.set_xlabel(f"decibels, signal to quantization noise; {len(worst)} lowest of {len(noise)} layers")
        _name_rows(ax, [name for _, name in worst])
    return picture.svg


def layer_sizes(report: Report) -> str:
    """The layers with the largest weights, before and after."""
    largest = sorted(report.layers, key=lambda layer: -layer.float_bytes)[:_MOST_LAYERS]
    with drawing("Size by layer", 0.4 + _height(len(largest))) as picture:
        ax = picture.figure.subplots()
        rows = np.arange(len(largest))
        for offset, label, colour, sizes in (
            (-0.2, "fp32", BASELINE, [layer.float_bytes / 1000 for layer in largest]),
            (0.2, "int8", CANDIDATE, [layer.int8_bytes / 1000 for layer in largest]),
        ):
            bars = ax.barh(rows + offset, sizes, height=0.36, color=colour, label=label)
            ax.bar_label(bars, fmt="%.4g", padding=4, color=MUTED, size=8)
        ax.margins(x=0.12)
        ax.set_xlabel(f"kB of weights; {len(largest)} largest of {len(report.layers)} layers")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        _name_rows(ax, [layer.name for layer in largest])
    return picture.svg


def _height(rows: int) -> float:
    return 0.8 + 0.3 * rows


def _name_rows(ax: Axes, names: list[str]) -> None:
    ax.set_yticks(
        np.arange(len(names)), [name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME:]}" for name in names]
    )
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0, labelcolor=INK)

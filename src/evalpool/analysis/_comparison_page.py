"""A comparison as one HTML file, with its tables and plots, for a colleague or a paper's supplement.

It needs no other file and no network, and runs no script. The plots are pictures inside it. Names are those of users,
and are escaped.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import io
import os
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalpool._text import printable
from evalpool._version import __version__
from evalpool.analysis._comparison import (
    plot_critical_difference,
    plot_performance_profile,
    plot_ranks,
    plot_regret,
)
from evalpool.errors import BadArgument, MissingExtra
from evalpool.tables._paths import check_path, replace_file

if TYPE_CHECKING:
    from evalpool.benchmarks import Comparison

__all__ = ["check_packages", "write_comparison_page"]

MOST_CURVES = 60
"""The most plots of regret on a page; there are as many as benchmarks times numbers of workers."""
LONGEST_REASON = 300

STYLE = """\
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ccc; text-align: right; }
th:nth-child(2), td:nth-child(2), .text td, .text th { text-align: left; }
.wide { overflow-x: auto; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; }
"""


def write_comparison_page(
    comparison: Comparison, path: str | os.PathLike[str], *, title: str = "Comparison of searches"
) -> Path:
    """Write a comparison as one HTML file: the summary, failures, ranks, critical differences, profiles, regret.

    The same comparison gives the same file, with the same versions of evalpool and matplotlib.

    Args:
        comparison: what `compare` returned.
        path: of the file; an existing one is replaced.
        title: of the page.

    Returns:
        the absolute path.

    Raises:
        MissingExtra: matplotlib or pandas is not installed.
        BadArgument: the file cannot be written there.
    """
    check_packages()
    target = check_path(path)
    head = f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>{_text(title)}</title>'
    start = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n<style>\n{STYLE}</style>\n</head>\n<body>\n'
    replace_file(target, start, list(_parts(comparison, title)), ["</body>\n</html>\n"])
    return target


def check_packages() -> None:
    """Raise `MissingExtra` unless a page can be written here; before anything that takes long is done."""
    for package, extra in (("matplotlib", "plot"), ("pandas", "pandas")):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtra.of(f"A page of a comparison needs {package}", extra) from error


def _parts(comparison: Comparison, title: str) -> Iterator[str]:
    limits = comparison.limits
    ends = [
        *([f"{limits.budget} evaluations"] if limits.budget is not None else []),
        *([f"{limits.max_time:g} virtual seconds"] if limits.max_time is not None else []),
    ]
    yield f"<h1>{_text(title)}</h1>\n"
    yield (
        f"<p>{len(comparison.searches)} searches on {len(comparison.benchmarks)} benchmarks, with "
        f"{', '.join(map(str, comparison.workers))} virtual workers and {len(comparison.seeds)} seeds: "
        f"{len(comparison.cells)} cells of at most {' or '.join(ends)}; a decision takes {limits.overhead:g} virtual "
        f"seconds. Made by evalpool {_text(__version__)}.</p>\n"
    )
    conditions = comparison.conditions.texts()
    if said := [f"{name.replace('_', ' ')}: {value}" for name, value in conditions.items() if value]:
        yield f"<p>In each cell, {_text('; '.join(said))}.</p>\n"
    yield "<h2>Summary</h2>\n"
    yield _table(comparison.summary())
    yield (
        "<p>Rank 1 is the best; its interval is what other seeds would give. Normalised regret: 0 is the best "
        "objective that is known, 1 the worst. Utilisation: the share of time that workers were busy.</p>\n"
    )
    if comparison.errors or comparison.missing:
        yield "<h2>Cells without a result</h2>\n"
        rows = [(str(cell), printable(error, LONGEST_REASON)) for cell, error in comparison.errors.items()]
        rows += [(str(cell), "another program evaluates it") for cell in comparison.missing]
        lines = "".join(f"<tr><td>{_text(cell)}</td><td>{_text(error)}</td></tr>\n" for cell, error in rows)
        yield f'<div class="wide"><table class="text">\n<tr><th>cell</th><th>why</th></tr>\n{lines}</table></div>\n'
    yield "<h2>Ranks</h2>\n"
    yield _figure("Average ranks over virtual workers", lambda ax: plot_ranks(comparison, ax))
    for workers in comparison.workers:
        yield from _of_workers(comparison, workers)


def _of_workers(comparison: Comparison, workers: int) -> Iterator[str]:
    yield f"<h2>{workers} virtual workers</h2>\n"
    yield _figure(
        f"Critical difference with {workers} workers",
        lambda ax: plot_critical_difference(comparison.critical_difference(workers), ax),
        height=2.6,
    )
    yield _figure(
        f"Performance profile with {workers} workers: virtual time until a normalised regret of 0.05",
        lambda ax: plot_performance_profile(comparison.performance_profile(workers), ax),
    )
    most = max(1, MOST_CURVES // len(comparison.workers))
    for benchmark in comparison.benchmarks[:most]:
        yield _figure(
            f"Regret on {benchmark} with {workers} workers: median and middle half of the seeds",
            functools.partial(plot_regret, comparison, benchmark, workers),
        )
    if left := comparison.benchmarks[most:]:
        yield f"<p>Not drawn: regret on {_text(', '.join(left))}.</p>\n"


def _figure(caption: str, draw: Callable[[Any], Any], height: float = 4.0) -> str:
    """A plot as a picture; where there is nothing to draw, the reason."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, height), layout="constrained")
    try:
        draw(figure.subplots())
    except BadArgument as error:
        return f"<p>{_text(caption)}: {_text(str(error))}</p>\n"
    data = io.BytesIO()
    # Without a salt and with a date, each page would be another file.
    with matplotlib.rc_context({"svg.hashsalt": "evalpool"}), contextlib.closing(data):
        figure.savefig(data, format="svg", metadata={"Date": None})
        picture = base64.b64encode(data.getvalue()).decode()
    alt = _text(caption)
    return (
        f'<figure><figcaption>{alt}</figcaption><img alt="{alt}" src="data:image/svg+xml;base64,{picture}"></figure>\n'
    )


def _table(frame: Any) -> str:
    """A data frame as a table."""
    lines = ["".join(f"<th>{_text(str(name).replace('_', ' '))}</th>" for name in frame.columns)]
    for row in frame.itertuples(index=False):
        cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row]
        lines.append("".join(f"<td>{_text(cell)}</td>" for cell in cells))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table>\n{body}</table></div>\n'


def _text(text: str) -> str:
    return escape(printable(text))

"""The live view's block for a search, drawn with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from evalpool.cli._summary import running_line
from evalpool.cli._words import clean, duration, example_of, number, rate, short
from evalpool.errors import MissingExtra

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["block", "console"]

MOST_JOBS = 6
"""Running jobs that a block lists: with more it would not fit a terminal."""
MOST_FAILURES = 3
"""Examples of failures."""
SHORT = 80
"""Characters of a configuration or a failure: two lines of a terminal of 60 columns."""
_STATES = {"running": "green", "waiting": "yellow", "ended": "bold", "suspended": "yellow", "abandoned": "red"}


def console(file: TextIO, *, record: bool = False) -> Console:
    """A console of rich. Raises `MissingExtra`."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise MissingExtra.of("The live view needs rich", "live") from error
    return Console(file=file, record=record, width=100 if record else None, force_terminal=None)


def block(summaries: list[dict[str, Any]]) -> RenderableType:
    """A block for each of these results of `Campaign.summary`."""
    from rich.console import Group

    return Group(*map(_one, summaries))


def _one(summary: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    jobs, total = summary["jobs"], summary["total"]
    parts: list[RenderableType] = []
    if total:
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(ratio=1)
        line.add_column(justify="right")
        line.add_row(
            ProgressBar(total=total, completed=min(total, summary["evaluated"])), f"{summary['evaluated']}/{total}"
        )
        parts.append(line)
    facts = Table.grid(padding=(0, 2), expand=True)
    facts.add_column(style="dim", no_wrap=True)
    # Folded, not cut: in a narrow terminal the end of a line is where the failures and the time left stand.
    facts.add_column(overflow="fold", ratio=1)

    def row(name: str, *texts: str | Text) -> None:
        facts.add_row(name, Text.assemble(*texts))

    counts = [f"{jobs['succeeded']} succeeded"]
    counts += [f"{jobs[name]} {name}" for name in ("running", "waiting", "cancelled") if jobs[name]]
    counts += [f"{summary['stopped_early']} stopped early"] if summary["stopped_early"] else []
    row("jobs", ", ".join(counts), *([Text(f", {jobs['failed']} failed", "red")] if jobs["failed"] else []))
    best = summary["best"]
    if best is not None:
        row(
            "best",
            Text(number(best["objective"]), "bold"),
            (", the smallest" if summary["minimize"] else "")
            + f"  job {best['job_id']}: {short(best['configuration'], SHORT)}",
        )
    for name, value in () if best is not None else summary["standing"].items():
        row(name, value)
    if summary["rate"] is not None:
        left = summary["seconds_left"]
        row("speed", rate(summary["rate"]), f", {duration(left)} left" if left is not None else "")
    if summary["failures"]:
        texts = ", ".join(f"{clean(text)} {n}" for text, n in summary["failure_texts"].items())
        row("failures", ", ".join(f"{clean(kind)} {n}" for kind, n in summary["failures"].items()),
            Text("  " + texts, "dim"))  # fmt: skip
        for one in summary["failure_examples"][:MOST_FAILURES]:
            row("", Text(f"job {one['job_id']}: {example_of(one, SHORT)}", "red"))
    running = summary["running"]
    for index, job in enumerate(running[:MOST_JOBS]):
        row("running" if index == 0 else "", running_line(job))
    if len(running) > MOST_JOBS:
        row("", Text(f"and {len(running) - MOST_JOBS} more", "dim"))
    if summary.get("trouble"):
        row("trouble", Text(clean(summary["trouble"]), "red"))
    parts.append(facts)
    title = Text.assemble(
        (f"search {summary['search_id']} ", "bold"), (summary["state"], _STATES[summary["state"]]),
        f" {duration(summary['elapsed'])}",
    )  # fmt: skip
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim")

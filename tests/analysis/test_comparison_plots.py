"""What the plots of a comparison show, and its page; how they look was looked at."""

from __future__ import annotations

import base64
import math
import re
from pathlib import Path
from typing import Any

import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


from evalpool.analysis import (  # noqa: E402
    plot_critical_difference,
    plot_performance_profile,
    plot_ranks,
    plot_regret,
    write_comparison_page,
)
from evalpool.benchmarks import Benchmark, Comparison, CriticalDifference, compare  # noqa: E402
from evalpool.benchmarks._compare._ranks import performance_profile  # noqa: E402
from evalpool.errors import BadArgument  # noqa: E402
from proposals import Listed  # noqa: E402

pytestmark = pytest.mark.slow  # a figure takes longer than a quarter of a second


def upward(space: Any, seed: int) -> Listed:
    return Listed(list(range(10)))


def downward(space: Any, seed: int) -> Listed:
    return Listed(list(range(9, -1, -1)))


def broken(space: Any, seed: int) -> Listed:
    raise ZeroDivisionError("<b>cannot</b> be made")


def line(name: str, best: int) -> Benchmark:
    """The loss is the distance from `best`; each evaluation takes a minute."""
    run = lambda job: {"loss": float(abs(job["x"] - best)), "seconds": 60.0}  # noqa: E731
    return Benchmark(name, {"x": (0, 9)}, run, objectives="loss", maximize=False, runtime="seconds")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    benchmarks = [line("low", 0), line("middle", 3), line("high", 9)]
    return compare({"up": upward, "down": downward}, benchmarks, workers=[1, 2], seeds=2, budget=4)


def labels(ax: Any) -> list[str]:
    return list(ax.get_legend_handles_labels()[1])


def test_regret_falls_over_virtual_time_and_over_evaluations(comparison: Comparison) -> None:
    ax = plot_regret(comparison, "middle", 1)
    assert labels(ax) == ["up", "down"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("virtual time [minutes]", "regret")
    up, down = ax.lines
    assert (up.get_xdata()[0], up.get_xdata()[-1]) == (1.0, 4.0)
    assert (up.get_ydata()[0], up.get_ydata()[-1]) == (3.0, 0.0)
    assert (down.get_ydata()[0], down.get_ydata()[-1]) == (6.0, 3.0)
    ax = plot_regret(comparison, "middle", 2, over="evaluations")
    assert ax.get_xlabel() == "evaluations that had ended"
    assert (ax.lines[0].get_xdata()[0], ax.lines[0].get_xdata()[-1]) == (1.0, 4.0)


def test_ranks_have_an_interval_for_each_number_of_workers(comparison: Comparison) -> None:
    ax = plot_ranks(comparison)
    assert labels(ax) == ["up", "down"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2"]
    points = [container.lines[0].get_ydata().tolist() for container in ax.containers]
    # up is better on low and middle, down on high.
    assert points == [pytest.approx([4 / 3, 4 / 3]), pytest.approx([5 / 3, 5 / 3])]
    assert ax.yaxis_inverted()


def test_a_critical_difference_joins_what_is_not_told_apart(comparison: Comparison) -> None:
    ax = plot_critical_difference(comparison.critical_difference(1))
    texts = [text.get_text().strip() for text in ax.texts]
    assert "up  1.33" in texts
    assert "1.67  down" in texts
    assert "critical difference 1.13" in texts
    assert "3 blocks" in ax.get_title(loc="left")
    assert [one.get_linewidth() for one in ax.lines].count(4.0) == 1


def test_long_names_stay_inside_the_figure() -> None:
    names = tuple(f"a search with a long name, number {number}" for number in range(7))
    difference = CriticalDifference(names, tuple(map(float, range(1, 8))), 1.5, 0.05, 9, 3.0, 0.1, ((0, 1), (1, 2)))
    ax = plot_critical_difference(difference)
    figure = ax.figure
    figure.canvas.draw()
    for text in ax.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_a_performance_profile_ends_at_the_share_that_is_solved(comparison: Comparison) -> None:
    ax = plot_performance_profile(comparison.performance_profile(1, target=0.0))
    assert labels(ax) == ["up", "down"]
    # up solves low at once and middle with its fourth; down solves high at once.
    assert [one.get_ydata()[-1] for one in ax.lines] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]


def test_a_profile_of_nothing_that_is_solved_says_so() -> None:
    profile = performance_profile(["a", "b"], [[math.inf, math.inf]] * 3)
    with pytest.raises(BadArgument, match=r"No search solves any of the 3 problems of the profile; .* larger target"):
        plot_performance_profile(profile)


def test_a_plot_says_what_it_cannot_show(comparison: Comparison) -> None:
    with pytest.raises(BadArgument, match="benchmark is None; give one of low, middle, high"):
        plot_regret(comparison, workers=1)
    with pytest.raises(BadArgument, match="workers is 3; give one of 1, 2"):
        plot_regret(comparison, "low", 3)
    with pytest.raises(BadArgument, match="over is 'money'"):
        plot_regret(comparison, "low", 1, over="money")
    nothing = compare({"broken": broken}, [line("low", 0)], workers=[1], seeds=1, budget=2)
    with pytest.raises(BadArgument, match="No search has a result on 'low' with 1 workers"):
        plot_regret(nothing)
    with pytest.raises(BadArgument, match="No benchmark has results of all searches"):
        plot_ranks(nothing)


def test_the_page_holds_everything_in_one_file(comparison: Comparison, tmp_path: Path) -> None:
    path = write_comparison_page(comparison, tmp_path / "page.html", title="Up & down")
    text = path.read_text("utf-8")
    assert "<h1>Up &amp; down</h1>" in text
    assert (
        "2 searches on 3 benchmarks, with 1, 2 virtual workers and 2 seeds: 24 cells of at most 4 evaluations" in text
    )
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert len(pictures) == 1 + 2 * (2 + 3)
    assert all(b"<svg" in base64.b64decode(picture) for picture in pictures)
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_the_page_tells_which_cells_failed_and_escapes_what_users_wrote(tmp_path: Path) -> None:
    both = {"up": upward, "<script>broken": broken}
    found = compare(both, [line("low", 0)], workers=[1], seeds=1, budget=2)
    text = write_comparison_page(found, tmp_path / "page.html").read_text("utf-8")
    assert "<td>&lt;script&gt;broken on low, 1 workers, seed 0</td>" in text
    assert "ZeroDivisionError: &lt;b&gt;cannot&lt;/b&gt; be made" in text
    assert "<script" not in text
    assert "No benchmark has results of all searches" in text  # in place of the plot of ranks
    again = write_comparison_page(found, tmp_path / "page.html").read_text("utf-8")
    assert again == text

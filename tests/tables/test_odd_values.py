"""Numbers beyond floats and text that is no UTF-8 go through tables, plots and the page as everything else."""

from __future__ import annotations

import csv
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator
from evalpool.analysis import plot_objective_over_evaluations, plot_objective_over_time, plot_parallel_coordinates
from evalpool.callbacks import CSVLoggerCallback
from evalpool.cli import Server

pytest.importorskip("matplotlib").use("Agg")
VALUES = (10**400, 1.0, -(10**400))
NAME = "caf\udce9.txt"


def run(job: Any) -> dict[str, Any]:
    return {"objective": job["value"], "metadata": {"note": NAME}}


@pytest.mark.slow
def test_numbers_beyond_floats_and_lone_surrogates_are_shown_everywhere(tmp_path: Path) -> None:
    from matplotlib import pyplot

    table, store = tmp_path / "live.csv", f"sqlite:///{tmp_path}/runs.db"
    with Evaluator.create(run, "thread", {"storage": store, "callbacks": [CSVLoggerCallback(table)]}) as evaluator:
        evaluator.submit([{"value": value, "file": NAME} for value in VALUES])
        evaluator.gather()
        assert [job.objective for job in evaluator.best(3)] == list(VALUES)
        exported = evaluator.to_csv(tmp_path / "exported.csv")
        evaluator.to_parquet(tmp_path / "exported.parquet")
        with Server(evaluator.storage) as server:
            with urllib.request.urlopen(f"{server.url}rows?after=0", timeout=30) as answer:
                assert len(json.load(answer)["rows"]) == 3
        for plot in (plot_objective_over_time, plot_objective_over_evaluations, plot_parallel_coordinates):
            for source in (evaluator, exported):
                plot(source).figure.savefig(tmp_path / "plot.png")
    pyplot.close("all")
    for path in (table, exported):
        with path.open(newline="", encoding="utf-8", errors="surrogatepass") as file:
            rows = list(csv.DictReader(file))
        assert {row["objective"] for row in rows} == {str(value) for value in VALUES}

"""Searches compared on benchmarks: ``compare`` and what it returns.

    _compare.py      the arguments; the campaign that runs the cells
    _cells.py        one cell: a simulated run, and what is kept of it
    _comparison.py   the results of all cells as tables: regret, utilisation, ranks
    _ranks.py        the statistics, on plain arrays: average ranks, critical differences, performance profiles

The search of a cell is made by ``evalpool.benchmarks._searches``; what draws tables is in `evalpool.analysis`.
"""

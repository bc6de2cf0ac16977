"""Searches compared on benchmarks: ``compare`` and what it returns.

    _compare.py      the arguments; the campaign that runs the cells
    _searches.py     the search of a cell, by its name or by a function
    _cells.py        one cell: a simulated run, and what is kept of it
    _comparison.py   the results of all cells as tables: regret, utilisation, ranks
    _ranks.py        the statistics, on plain arrays: average ranks, critical differences, performance profiles

What draws them is in `evalpool.analysis`.
"""

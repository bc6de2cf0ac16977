"""How many workers a search can feed: ``plan`` and what it is given.

    _plan.py           the arguments; the rows and columns of a plan; the number of useful workers
    _search_times.py   how long the search thinks: declared, or measured
    _runtime_draws.py  how long jobs run: from a model, a benchmark, a list, a storage
    _planned_runs.py   one run of these in simulated time, and the figures that it predicts
    _planned_steps.py  the same by single steps: batches, and workers that fail
    _published.py      experiments of others, done again

What draws a plan is in `evalpool.analysis`.
"""

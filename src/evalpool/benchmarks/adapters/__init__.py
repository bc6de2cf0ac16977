"""Suites of evalpool and of other packages, one file each. A package is imported when its benchmark is loaded.

What several of them need is in `_spaces.py`, the search spaces of other packages as plain dicts, and in `_remade.py`,
objects that cannot be pickled.
"""

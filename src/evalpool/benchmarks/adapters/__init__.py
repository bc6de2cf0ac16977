"""Suites of evalpool and of other packages, one file each. A package is imported when its benchmark is loaded."""

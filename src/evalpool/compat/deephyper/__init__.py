"""deephyper's evaluators over evalpool's; and its searches, unchanged, on them.

from evalpool.compat.deephyper.evaluator import Evaluator       # in the place of deephyper.evaluator

from evalpool.compat.deephyper import install
install()                                                       # from here on an installed deephyper uses evalpool
from deephyper.hpo import CBO, HpProblem
"""

from evalpool.compat.deephyper._install import install, uninstall

__all__ = ["install", "uninstall"]

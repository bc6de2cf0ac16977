"""Names of rooms above this one, for type checkers only: no other file may import from above.

`Evaluator.create` returns the class of the given method, and `evalpool.evaluator` offers some names of other rooms. At
run time the package's root provides them (`evalpool._lazy.REEXPORTED`); there is no code here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalpool.backends import ExecutorEvaluator as ExecutorEvaluator
    from evalpool.backends import MPICommEvaluator as MPICommEvaluator
    from evalpool.backends import ProcessPoolEvaluator as ProcessPoolEvaluator
    from evalpool.backends import RayEvaluator as RayEvaluator
    from evalpool.backends import SerialEvaluator as SerialEvaluator
    from evalpool.backends import ThreadPoolEvaluator as ThreadPoolEvaluator
    from evalpool.backends import profile as profile
    from evalpool.search import MedianStopper as MedianStopper
    from evalpool.search import NevergradOptimizer as NevergradOptimizer
    from evalpool.search import OptunaOptimizer as OptunaOptimizer
    from evalpool.search import RandomSearch as RandomSearch
    from evalpool.search import SkoptOptimizer as SkoptOptimizer
    from evalpool.search import Stopper as Stopper
    from evalpool.search import SuccessiveHalvingStopper as SuccessiveHalvingStopper
    from evalpool.search import optimize as optimize

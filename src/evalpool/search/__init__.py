"""Searching: the ask-and-tell loop, optimisers and adapters to those of other packages, spaces, early stopping."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.search._carps import CARPSOptimizer as CARPSOptimizer
    from evalpool.search._halving import SuccessiveHalving as SuccessiveHalving
    from evalpool.search._hyperband import HyperbandStopper as HyperbandStopper
    from evalpool.search._minimizers import NevergradOptimizer as NevergradOptimizer
    from evalpool.search._minimizers import SkoptOptimizer as SkoptOptimizer
    from evalpool.search._optimize import optimize as optimize
    from evalpool.search._optuna import OptunaOptimizer as OptunaOptimizer
    from evalpool.search._random_search import RandomSearch as RandomSearch
    from evalpool.search._stoppers import MedianStopper as MedianStopper
    from evalpool.search._stoppers import Stopper as Stopper
    from evalpool.search._stoppers import SuccessiveHalvingStopper as SuccessiveHalvingStopper

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CARPSOptimizer": "_carps",
        "HyperbandStopper": "_hyperband",
        "MedianStopper": "_stoppers",
        "NevergradOptimizer": "_minimizers",
        "OptunaOptimizer": "_optuna",
        "RandomSearch": "_random_search",
        "SkoptOptimizer": "_minimizers",
        "Stopper": "_stoppers",
        "SuccessiveHalving": "_halving",
        "SuccessiveHalvingStopper": "_stoppers",
        "optimize": "_optimize",
    },
)

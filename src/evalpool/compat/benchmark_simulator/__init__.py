"""`benchmark_simulator` of mfhpo-simulator, releases 1.2.1 to 1.5, on `evalpool.simulation`.

Programs change their import: ``from evalpool.compat.benchmark_simulator import ObjectiveFuncWrapper``. What differs
from the core is in `simulator`; what differs from mfhpo-simulator is listed in docs/coming-from/mfhpo-simulator.md.
"""

from evalpool.compat.benchmark_simulator.simulator import (
    AbstractAskTellOptimizer,
    ObjectiveFuncType,
    ObjectiveFuncWrapper,
    get_multiple_wrappers,
)

__version__ = "1.4.6"
"""The release whose names and arguments these are."""

__all__ = ["AbstractAskTellOptimizer", "ObjectiveFuncType", "ObjectiveFuncWrapper", "get_multiple_wrappers"]

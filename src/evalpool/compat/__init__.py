"""Programs written for other systems run here after one changed import.

::

    evalpool.compat.deephyper             deephyper 0.13: `evaluator`, and its `callback`, `storage` and `mpi`
    evalpool.compat.benchmark_simulator   mfhpo-simulator 1.2.1 to 1.5

The room stands on public names of evalpool alone, and nothing stands on it. What programs of another system rely on,
and evalpool does otherwise, is here, each difference in one place with its reason; what does not conflict with
evalpool's own contract is in the core. The packages themselves are not needed, but for their own searches to run on
evalpool (`evalpool.compat.deephyper.install`).
"""

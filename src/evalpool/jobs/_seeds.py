"""One seed per job, from the evaluator's seed and the job's number alone.

The seeds are those of `numpy.random.SeedSequence` with the number as spawn key: streams of different jobs are
independent (M. E. O'Neill's seed_seq design, see numpy's "Parallel random number generation"), and do not depend on
order, backend, retries or the number of workers.

A `SeedSequence` mixes its entropy word by word, the spawn key last. The jobs of a search differ only in that last word,
so everything before it is computed once, by numpy, and one chain of multiplications is left per job: a seed costs half
a microsecond instead of fourteen, which matters in simulated time. The constants are those of numpy, which promises not
to change them.
"""

from __future__ import annotations

import functools
import os

__all__ = ["Seeds", "fresh_seed", "job_seed", "numpy_seed"]

MASK = 0xFFFFFFFF
INIT_A, MULT_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULT_B = 0x8B51F9DD, 0x58F38DED
MIX_L, MIX_R = 0xCA01F9DD, 0x4973F715
POOL_WORDS = 4


class Seeds:
    """The seeds of the jobs of a search.

    Args:
        base: the seed of the search, 0 or more.
    """

    __slots__ = ("_base", "_first", "_hash", "_multiplier")

    def __init__(self, base: int) -> None:
        from numpy.random import SeedSequence

        self._base = base
        self._first = int(SeedSequence(base).pool[0])
        # The hash constant after the pool was filled (4 words) and mixed (each into the 3 others).
        self._hash = INIT_A * pow(MULT_A, POOL_WORDS * POOL_WORDS, 1 << 32) & MASK
        self._multiplier = self._hash * MULT_A & MASK

    def __call__(self, job: int) -> int:
        """The seed of a job, 0 <= seed < 2**32."""
        if job > MASK or self._base >> 32 * POOL_WORDS:
            return numpy_seed(self._base, job)
        value = (job ^ self._hash) * self._multiplier & MASK
        value ^= value >> 16
        mixed = MIX_L * self._first - MIX_R * value & MASK
        mixed ^= mixed >> 16
        seed = (mixed ^ INIT_B) * (INIT_B * MULT_B & MASK) & MASK
        return seed ^ seed >> 16


_seeds_of = functools.lru_cache(maxsize=16)(Seeds)


def job_seed(base: int, number: int) -> int:
    """The seed of job `number` of a search with the seed `base`, 0 <= seed < 2**32."""
    return _seeds_of(base)(number)


def numpy_seed(base: int, number: int) -> int:
    """The same seed as `job_seed`, computed by numpy."""
    from numpy.random import SeedSequence

    return int(SeedSequence(base, spawn_key=(number,)).generate_state(1)[0])


def fresh_seed() -> int:
    """A seed for an evaluator without one: 63 bits of the system's entropy, so that JSON can hold it."""
    return int.from_bytes(os.urandom(8), "little") >> 1  # `secrets` would import OpenSSL and a random generator

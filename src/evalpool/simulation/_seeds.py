"""Seeds of many jobs of one run, fast: the same numbers as `evalpool.evaluator._seeds.job_seed` gives.

`numpy.random.SeedSequence` mixes its entropy word by word (M. E. O'Neill's seed_seq design), the spawn key last. Of
a run's jobs only that last word differs, so all before it is done once, by numpy, and one chain of multiplications is
left per job: a seed costs half a microsecond instead of fourteen, which matters between two callers' turns. The
constants are those of numpy, which promises that they stay.
"""

from __future__ import annotations

from evalpool.evaluator._seeds import job_seed

__all__ = ["Seeds"]

MASK = 0xFFFFFFFF
INIT_A, MULT_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULT_B = 0x8B51F9DD, 0x58F38DED
MIX_L, MIX_R = 0xCA01F9DD, 0x4973F715
POOL_WORDS = 4


class Seeds:
    """Of the jobs of a run.

    Args:
        base: what they derive from, 0 or more.
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
            return job_seed(self._base, job)
        value = (job ^ self._hash) * self._multiplier & MASK
        value ^= value >> 16
        mixed = MIX_L * self._first - MIX_R * value & MASK
        mixed ^= mixed >> 16
        seed = (mixed ^ INIT_B) * (INIT_B * MULT_B & MASK) & MASK
        return seed ^ seed >> 16

"""One seed per job, from the evaluator's seed and the job's number alone."""

from __future__ import annotations

__all__ = ["fresh_seed", "job_seed"]


def job_seed(base: int, number: int) -> int:
    """The seed of job `number`, 0 <= seed < 2**32.

    `numpy.random.SeedSequence` with the number as spawn key: streams of different jobs are independent
    (M. E. O'Neill's seed_seq design, see numpy's "Parallel random number generation"), and neither order,
    backend, retries nor the number of workers enters.
    """
    from numpy.random import SeedSequence

    return int(SeedSequence(base, spawn_key=(number,)).generate_state(1)[0])


def fresh_seed() -> int:
    """An evaluator's seed when the user gave none; 63 bits of the system's entropy, so that JSON holds it."""
    import secrets

    return secrets.randbits(63)

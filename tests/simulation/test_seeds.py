"""Seeds are the same numbers wherever they are worked out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalpool.evaluator._seeds import job_seed
from evalpool.simulation._seeds import Seeds


@given(
    st.one_of(st.integers(0, 1 << 63), st.integers(0, 1 << 200)),
    st.one_of(st.integers(0, 1 << 20), st.integers(0, 1 << 40)),
)
def test_a_simulated_job_has_the_seed_that_an_evaluator_gives(base: int, job: int) -> None:
    assert Seeds(base)(job) == job_seed(base, job)

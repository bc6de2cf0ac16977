"""Seeds are numpy's, however they are worked out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalpool.jobs._seeds import Seeds, job_seed, numpy_seed


@given(
    st.one_of(st.integers(0, 1 << 63), st.integers(0, 1 << 200)),
    st.one_of(st.integers(0, 1 << 20), st.integers(0, 1 << 40)),
)
def test_a_job_has_the_seed_that_numpy_gives(base: int, job: int) -> None:
    assert Seeds(base)(job) == job_seed(base, job) == numpy_seed(base, job)

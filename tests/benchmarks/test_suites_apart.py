"""Suites whose packages have an environment of their own; see `benchmark_environments`."""

from __future__ import annotations

import pytest
from benchmark_environments import ENVIRONMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

MFHARTMANN = """
import json
import mfpbench
from evalpool import RandomSearch, simulate
from evalpool.benchmarks import SUITES, load

said = []
for name in [name for name in SUITES["mfpbench"]().problems() if name.startswith("mfh")]:
    ours, theirs = load(f"mfpbench:{name}", seed=1, seconds=60.0), mfpbench.get(name, seed=1)
    search = RandomSearch(ours, seed=0)
    for z in (1, 50, 100):
        configuration = search.ask()
        told, result = ours({**configuration, "z": z}), theirs.query(configuration, at=z)
        assert (told["objective"], told["runtime"]) == (-result.value.value, 60.0 * result.cost), name
    assert told["objective"] <= ours.metadata["best"]
    digests = {
        simulate(RandomSearch(ours, seed=0), ours, num_workers=8, max_evals=30, seed=0, evaluator=method).trace_digest()
        for method in (None, "serial")
    }
    said.append([name, len(ours.space), [ours.fidelity.low, ours.fidelity.high], len(digests)])
print(json.dumps(said))
"""


def test_the_ten_mfhartmann_functions_say_what_their_package_says() -> None:
    apart = ENVIRONMENTS["mfpbench"]
    apart.install()
    found = apart.run(MFHARTMANN)
    assert sorted(name for name, *_ in found) == sorted(
        f"mfh{dimensions}{kind}" for dimensions in (3, 6) for kind in ("", "_terrible", "_bad", "_moderate", "_good")
    )
    assert all(
        (parameters, levels, digests) == (int(name[3]), [1, 100], 1) for name, parameters, levels, digests in found
    )

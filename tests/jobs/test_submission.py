"""What may be said of a job beside its configuration, and that it is checked where it is written."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from evalpool import BadArgument, Evaluator, JobOptions, Submission
from evalpool.jobs._options import NO_OPTIONS


def run(job: Any) -> Any:
    return job["x"]


def test_without_options_it_is_as_good_as_its_dict() -> None:
    assert Submission({"x": 1}).options is NO_OPTIONS
    assert JobOptions(priority=0, job_timeout=None, tags=()) == NO_OPTIONS
    assert NO_OPTIONS.chosen() == {}


def test_its_values_are_plain_python_and_each_tag_is_kept_once() -> None:
    submission = Submission({"x": 1}, np.int64(-3), np.float64(0.5), ["b", "a", "b"])
    assert (submission.priority, submission.job_timeout, submission.tags) == (-3, 0.5, ("b", "a"))
    assert type(submission.options.priority) is int
    assert submission.options == JobOptions(-3, 0.5, ("b", "a"))
    assert submission.options.chosen() == {"priority": -3, "job_timeout": 0.5, "tags": ["b", "a"]}
    assert [Submission({}, job_timeout=seconds).job_timeout for seconds in (math.inf, 10**400)] == [0.0, 0.0]
    assert pickle.loads(pickle.dumps(submission)) == submission


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"priority": 1.5}, "priority is 1.5 of type float; give a whole number"),
        ({"priority": "high"}, "priority is 'high' of type str"),
        ({"priority": True}, "priority is True"),
        ({"priority": None}, "priority is None"),
        ({"priority": 2**60}, "priority is 1152921504606846976"),
        ({"job_timeout": -1}, "job_timeout is -1; give seconds above 0, 0 for no limit, or None"),
        ({"job_timeout": -(10**400)}, "job_timeout is -1000"),
        ({"job_timeout": math.nan}, "job_timeout is nan"),
        ({"job_timeout": "10"}, "job_timeout is '10'"),
        ({"tags": "warm"}, "tags is 'warm' of type str; give a list of texts"),
        ({"tags": {"warm"}}, "tags is {'warm'} of type set"),
        ({"tags": [3]}, "tags has 3 of type int"),
        ({"tags": [""]}, "tags has '' of type str"),
    ],
)
def test_a_wrong_option_is_refused_with_its_value(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        Submission({"x": 1}, **wrong)


def test_it_holds_a_dict_and_does_not_change() -> None:
    with pytest.raises(BadArgument, match="configuration is 3 of type int; give a dict"):
        Submission(3)  # type: ignore[arg-type]
    submission = Submission({"x": 1}, priority=1)
    with pytest.raises(AttributeError):
        submission.priority = 2  # type: ignore[misc]


def test_a_wrong_configuration_in_one_is_refused_before_anything_is_taken() -> None:
    with Evaluator.create(run) as evaluator:
        with pytest.raises(BadArgument, match="has the key 3 of type int"):
            evaluator.submit([{"x": 1}, Submission({3: 1}, priority=1)])  # type: ignore[dict-item]
        assert evaluator.num_jobs_submitted == 0


def test_the_callers_dict_is_neither_changed_nor_shared() -> None:
    configuration = {"x": [1, 2]}
    with Evaluator.create(run) as evaluator:
        (job,) = evaluator.submit([Submission(configuration, tags=["a"])])
        configuration["x"].append(3)
        evaluator.gather()
    assert job.args == {"x": [1, 2]}
    assert job.objective == (1, 2)


def test_a_job_keeps_its_options_in_pickles_beside_its_callers_attributes() -> None:
    with Evaluator.create(run) as evaluator:
        job, plain = evaluator.submit([Submission({"x": 1}, 2, 30.0, ["a"]), {"x": 2}])
        evaluator.gather()
        job.generation = 7
    copies = [pickle.loads(pickle.dumps(one)) for one in (job, plain)]
    assert [copy.options for copy in copies] == [JobOptions(2, 30.0, ("a",)), NO_OPTIONS]
    assert copies[0].generation == 7
    assert not vars(plain)  # a job without options holds nothing more


def test_a_record_writes_and_reads_its_options() -> None:
    with Evaluator.create(run, "serial") as evaluator:
        evaluator.submit([Submission({"x": 1}, 2, 0.5, ["a", "b"]), {"x": 2}])
        evaluator.gather("ALL")
        records = evaluator.storage.results(evaluator.search_id)
    told, plain = [record.model_dump(mode="json")["options"] for record in records]
    assert told == {"priority": 2, "job_timeout": 0.5, "tags": ["a", "b"]}
    assert plain == {"priority": 0, "job_timeout": None, "tags": []}
    assert records[0].model_dump()["options"] == {"priority": 2, "job_timeout": 0.5, "tags": ("a", "b")}
    assert [type(one).model_validate_json(one.model_dump_json()) for one in records] == records


def test_retries_keep_the_options() -> None:
    def fails_first(job: Any) -> int:
        if job.attempt == 1:
            raise RuntimeError
        return 1

    with Evaluator.create(fails_first, "thread", {"retries": 1}) as evaluator:
        evaluator.submit([Submission({"x": 1}, tags=["a"])])
        (job,) = evaluator.gather("ALL")
    assert (job.objective, job.attempts, job.options.tags) == (1, 2, ("a",))


def test_a_limit_of_its_own_counts_in_the_place_of_the_default() -> None:
    assert NO_OPTIONS.limit(None) is None
    assert NO_OPTIONS.limit(3.0) == 3.0
    assert JobOptions(job_timeout=0.0).limit(3.0) is None
    assert JobOptions(job_timeout=5.0).limit(3.0) == 5.0
    assert JobOptions(job_timeout=5.0).limit(None) == 5.0

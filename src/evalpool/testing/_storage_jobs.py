"""Tests of searches and jobs that a program stores itself, call by call, and of the values that they may have."""

from __future__ import annotations

import enum
import math
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pydantic
import pytest

from evalpool.errors import (
    BadArgument,
    NotJSON,
    UnknownValue,
)
from evalpool.outcomes import JobStatus
from evalpool.storage import Storage
from evalpool.testing._kept import Kept

__all__ = ["JobsByHand"]


class _Optimiser(pydantic.BaseModel):
    name: str
    rate: float


class _Colour(enum.Enum):
    RED = "red"


class JobsByHand(Kept):
    """Tests that the methods `load_*` return what the methods `store_*` were given."""

    def test_search_values_are_replaced_by_later_ones(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        kept.store_search_value(search_id, "best", {"x": 1})
        kept.store_search_value(search_id, "best", (1, 2.5))
        assert kept.load_search_value(search_id, "best") == [1, 2.5]
        with pytest.raises(UnknownValue, match=r"'worst'.*'best'"):
            kept.load_search_value(search_id, "worst")

    def test_jobs_are_numbered_per_search(self, kept: Storage) -> None:
        first, second = kept.create_new_search(), kept.create_new_search()
        assert [kept.create_new_job(first) for _ in range(2)] == ["0.0", "0.1"]
        assert kept.create_new_job(second) == "1.0"
        assert kept.load_all_job_ids(first) == ["0.0", "0.1"]
        assert (kept.count_jobs(first), kept.count_jobs(second)) == (2, 1)
        assert list(kept.load_search(second)) == ["1.0"]

    def test_a_job_kept_by_hand_comes_back(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_in(job_id, {"x": 1.5, "layers": (8, 4)}, {"verbose": True})
        kept.store_job_status(job_id, JobStatus.RUNNING)
        assert kept.load_job_status(job_id) is JobStatus.RUNNING
        kept.store_job_metadata(job_id, "gpu", 3)
        kept.store_job_metadata(job_id, "gpu", 4)
        kept.store_job_out(job_id, {"objective": 0.25, "note": "ok"})
        kept.store_job_status(job_id, "DONE")

        expected = {
            "status": JobStatus.DONE,
            "in": {"args": {"x": 1.5, "layers": [8, 4]}, "kwargs": {"verbose": True}},
            "out": {"objective": 0.25, "note": "ok"},
            "metadata": {"gpu": 4},
        }
        assert kept.load_job(job_id) == expected
        assert kept.load_search("0") == {job_id: expected}
        assert kept.load_jobs([job_id]) == {job_id: expected}
        record = kept.load_record(job_id)
        assert (record.status, record.objective, record.metadata) == (JobStatus.DONE, 0.25, {"gpu": 4})

    def test_a_new_job_is_ready_and_empty(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        job = kept.load_job(job_id)
        assert job["status"] is JobStatus.READY
        assert job["out"] is None
        assert job["metadata"] == {}
        assert kept.load_record(job_id).configuration == {}

    @pytest.mark.parametrize("out", [0.0, 0, "", "F_error", [1, 2], {"a": None}, True])
    def test_an_output_comes_back_as_it_was_stored(self, kept: Storage, out: Any) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_out(job_id, out)
        assert kept.load_job(job_id)["out"] == out
        assert kept.load_out_from_all_jobs("0") == [out]

    def test_metadata_and_outputs_of_all_jobs_skip_those_without(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        jobs = [kept.create_new_job(search_id) for _ in range(3)]
        kept.store_job_metadata(jobs[0], "memory", 0)
        kept.store_job_metadata(jobs[2], "memory", 7)
        kept.store_job_out(jobs[1], 0.0)
        assert kept.load_metadata_from_all_jobs(search_id, "memory") == [0, 7]
        assert kept.load_out_from_all_jobs(search_id) == [0.0]

    def test_a_final_status_stays(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_status(job_id, JobStatus.CANCELLED)
        kept.store_job_status(job_id, JobStatus.RUNNING)
        kept.store_job_status(job_id, JobStatus.DONE)
        assert kept.load_job_status(job_id) is JobStatus.CANCELLED

    def test_a_job_that_is_made_ready_again_is_in_its_next_attempt(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_status(job_id, JobStatus.RUNNING)
        kept.store_job_status(job_id, JobStatus.READY)
        assert kept.load_job_status(job_id) is JobStatus.READY
        assert kept.load_record(job_id).attempts == 1

    def test_an_unknown_status_is_refused_with_those_there_are(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        with pytest.raises(BadArgument, match=r"'done'.*DONE"):
            kept.store_job_status(job_id, "done")

    def test_numpy_pydantic_enum_path_and_set_become_json(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_out(
            job_id,
            {
                "scalar": np.float32(0.5),
                "count": np.int64(3),
                "flag": np.bool_(True),
                "text": np.str_("a"),
                "array": np.arange(4).reshape(2, 2),
                "model": _Optimiser(name="adam", rate=0.1),
                "colour": _Colour.RED,
                "path": PurePosixPath("/data"),
                "set": {2, 1},
            },
        )
        assert kept.load_job(job_id)["out"] == {
            "scalar": 0.5,
            "count": 3,
            "flag": True,
            "text": "a",
            "array": [[0, 1], [2, 3]],
            "model": {"name": "adam", "rate": 0.1},
            "colour": "red",
            "path": "/data",
            "set": [1, 2],
        }

    def test_nan_and_infinity_come_back_as_floats(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_out(job_id, {"losses": [math.inf, -math.inf, math.nan], "array": np.array([math.nan, 1])})
        out = kept.load_job(job_id)["out"]
        assert out["losses"][:2] == [math.inf, -math.inf]
        assert math.isnan(out["losses"][2])
        assert math.isnan(out["array"][0])

    @pytest.mark.parametrize("text", ["é 漢字 😀", "\x00\n\"'\\", "\ud800 lone", "x" * 100_000])
    def test_any_text_comes_back(self, kept: Storage, text: str) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        kept.store_job_metadata(job_id, text, text)
        kept.store_job_out(job_id, text)
        job = kept.load_job(job_id)
        assert (job["out"], job["metadata"]) == (text, {text: text})

    def test_what_is_not_json_is_refused_with_its_place_and_nothing_is_kept(self, kept: Storage) -> None:
        search_id = kept.create_new_search()
        job_id = kept.create_new_job(search_id)
        with pytest.raises(NotJSON, match=r"out\.model\.weights\[1\] is of type object"):
            kept.store_job_out(job_id, {"model": {"weights": [1.0, object()]}})
        with pytest.raises(NotJSON, match=r"metadata\.z is of type complex"):
            kept.store_job_metadata(job_id, "z", 1j)
        with pytest.raises(NotJSON, match=r"args has the key 3"):
            kept.store_job_in(job_id, {3: "x"})
        with pytest.raises(TypeError):
            kept.store_search_value(search_id, "f", print)
        job = kept.load_job(job_id)
        assert (job["out"], job["metadata"]) == (None, {})

    def test_what_was_loaded_is_a_copy(self, kept: Storage) -> None:
        job_id = kept.create_new_job(kept.create_new_search())
        given = {"objective": 1.0, "history": [1, 2]}
        kept.store_job_out(job_id, given)
        given["history"].append(3)  # type: ignore[attr-defined]
        kept.load_job(job_id)["out"]["history"].append(4)
        kept.load_record(job_id).output["history"].append(5)
        assert kept.load_job(job_id)["out"] == {"objective": 1.0, "history": [1, 2]}

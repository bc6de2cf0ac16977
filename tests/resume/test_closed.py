"""An evaluator that is closed resumes nothing."""

from __future__ import annotations

import pytest

from evalpool import EvaluatorClosed, SerialEvaluator
from evalpool.storage import MemoryStorage


def test_a_closed_evaluator_says_what_to_do_to_resume() -> None:
    storage = MemoryStorage()
    evaluator = SerialEvaluator(len, storage=storage, search_id=storage.create_new_search())
    evaluator.close()
    with pytest.raises(EvaluatorClosed, match="This SerialEvaluator is closed; make a new one to resume"):
        evaluator.resume()

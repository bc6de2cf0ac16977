"""`parse_subprocess_result`: a shell command as the run-function."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from evalpool import Evaluator, SubprocessError, parse_subprocess_result


def completed(stdout: Any, stderr: Any = "", code: int = 0) -> subprocess.CompletedProcess[Any]:
    return subprocess.CompletedProcess(["train", "--lr", "0.1"], code, stdout, stderr)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("0.5", 0.5),
        ("-3", -3),
        ("1e-3", 0.001),
        ("[1, 2.5]", [1, 2.5]),
        ("(1, 2.5)", (1, 2.5)),
        ('{"objective": 1, "metadata": {"a": null}}', {"objective": 1, "metadata": {"a": None}}),
        ("{'objective': 1, 'metadata': {'a': None}}", {"objective": 1, "metadata": {"a": None}}),
        ('"F_diverged"', "F_diverged"),
        ("F_diverged", "F_diverged"),
        ("true", True),
        ("True", True),
    ],
)
@pytest.mark.parametrize("form", [str, str.encode])
def test_the_value_behind_the_mark_is_returned(said: str, value: Any, form: Any) -> None:
    text = f"epoch 1\nDH-OUTPUT: {said}\nbye\n"
    assert parse_subprocess_result(completed(form(text))) == value
    assert parse_subprocess_result(completed(form(f"DH-OUTPUT:{said}"))) == value


def test_the_last_line_counts_and_may_have_text_before_it() -> None:
    assert parse_subprocess_result(completed("DH-OUTPUT: 1\nrank 0: DH-OUTPUT: 2\r\nend")) == 2


@pytest.mark.parametrize(
    ("process", "said"),
    [
        (completed("DH-OUTPUT: 1", "out of memory", 137), ["exit code 137", "out of memory", "--lr"]),
        (completed("DH-OUTPUT: 1", None, -9), ["-9", "standard error is empty"]),
        (completed("no result", "a warning"), ["no line with 'DH-OUTPUT:'", "a warning"]),
        (completed(None, None), ["no line with 'DH-OUTPUT:'", "capture_output=True"]),
        (completed("DH-OUTPUT: 0.5 seconds"), ["'0.5 seconds'", "neither JSON nor a Python literal"]),
        (completed("DH-OUTPUT:"), ["neither JSON nor a Python literal"]),
        (completed("DH-OUTPUT: __import__('os').abort()"), ["neither JSON nor a Python literal"]),
        (completed(b"\xff\xfe", b"\xff broken"), ["no line with 'DH-OUTPUT:'"]),
    ],
)
def test_whatever_is_wrong_is_an_error_with_the_standard_error(process: Any, said: list[str]) -> None:
    with pytest.raises(SubprocessError) as caught:
        parse_subprocess_result(process)
    for text in said:
        assert text in str(caught.value)


def test_a_long_standard_error_is_cut_to_its_end() -> None:
    with pytest.raises(SubprocessError) as caught:
        parse_subprocess_result(completed("", "x" * 1_000_000 + "the end", 1))
    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 10_000


def test_a_deeply_nested_value_is_an_error_and_no_crash() -> None:
    with pytest.raises(SubprocessError):
        parse_subprocess_result(completed("DH-OUTPUT: " + "[" * 100_000))


def test_a_command_is_the_run_function_of_an_evaluator() -> None:
    def train(job: Any) -> Any:
        code = f"import sys; print('DH-OUTPUT:', {job['x']} * 2) if {job['x']} < 3 else sys.exit('diverged')"
        return parse_subprocess_result(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True))

    with Evaluator.create(train, "thread", {"num_workers": 2}) as evaluator:
        jobs = evaluator.submit([{"x": 1}, {"x": 3}])
        evaluator.gather()
    assert [job.objective for job in jobs] == [2, "F_SubprocessError"]
    assert "diverged" in (jobs[1].error or "")

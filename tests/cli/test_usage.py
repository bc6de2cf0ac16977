"""Help, mistakes, and how long it takes to say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import PROGRAM, Command
from evalpool.cli import commands, main
from evalpool.cli._options import read_seconds
from evalpool.errors import CorruptRecord

RUN = ["run", "program:run", "--configs", "grid.jsonl", "--out", "out.csv"]
SEARCH = ["run", "program:run", "--search", "random", "--out", "out.csv", "--max-evals", "3"]


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("STORAGE", "BACKEND", "NUM_WORKERS", "LOG_LEVEL"):
        monkeypatch.delenv(f"EVALPOOL_{name}", raising=False)
    monkeypatch.delitem(sys.modules, "program", raising=False)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "broken.py").write_text("import does_not_exist\n")
    (tmp_path / "typo.py").write_text("def run(job:\n")
    (tmp_path / "grid.jsonl").write_text('{"x": 1}\n')
    (tmp_path / "bad.jsonl").write_text('{"x": 1}\n[2]\n')
    (tmp_path / "none.jsonl").write_text("\n")
    (tmp_path / "long.csv").write_text("x,y\n1,2,3\n")
    (tmp_path / "short.csv").write_text("x,y\n1,2\n3\n")
    (tmp_path / "quote.csv").write_text('x,y\n1,"a\n2,b\n3,c\n')
    (tmp_path / "names.csv").write_text('x,"y\n1,2\n')
    (tmp_path / "deep.csv").write_text("x\n1\n" + "[" * 100_000 + "\n")
    (tmp_path / "deep.jsonl").write_text('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    (tmp_path / "deep.json").write_text('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    (tmp_path / "space.json").write_text('{"x": [0, 1], "lr": {"low": 0, "height": 1}}')
    (tmp_path / "other.db").write_text("no database at all, but long enough to be taken for one " * 20)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "program", *RUN[2:]], "names no function; give module:function"),
        (["run", "program:walk", *RUN[2:]], "has no function 'walk'; it has run, fail, hang, chatty"),
        (["run", "program:value", *RUN[2:]], "has no function 'value'"),
        (["run", "nowhere:run", *RUN[2:]], "No module named 'nowhere'"),
        (["run", "nowhere.py:run", *RUN[2:]], "there is no file 'nowhere.py'"),
        (["run", "program.py:run:x", *RUN[2:]], "'program.py:run:x' has a colon too many; give module:function or"),
        (["run", "broken:run", *RUN[2:]], "ModuleNotFoundError at line 1 of"),
        (["run", "typo.py:run", *RUN[2:]], "SyntaxError at line 1 of"),
        ([*RUN[:3], "nowhere.csv", *RUN[4:]], "there is no file 'nowhere.csv'"),
        ([*RUN[:3], "grid.yaml", *RUN[4:]], "give a .jsonl file"),
        ([*RUN[:3], "bad.jsonl", *RUN[4:]], "line 2 of 'bad.jsonl' is not a JSON object"),
        ([*RUN[:3], "none.jsonl", *RUN[4:]], "holds no configuration"),
        ([*RUN[:3], "long.csv", *RUN[4:]], "line 2 of 'long.csv' has more cells"),
        ([*RUN[:3], "short.csv", *RUN[4:]], "line 3 of 'short.csv' has no cell for 'y'; it has fewer cells than"),
        (
            [*RUN[:3], "quote.csv", *RUN[4:]],
            "the row that begins at line 2 of 'quote.csv' is not CSV: unexpected end of",
        ),
        (
            [*RUN[:3], "names.csv", *RUN[4:]],
            "the row that begins at line 1 of 'names.csv' is not CSV: unexpected end of",
        ),
        ([*RUN[:3], "deep.csv", *RUN[4:]], "line 3 of 'deep.csv' has a cell that is nested too deeply"),
        ([*RUN[:3], "deep.jsonl", *RUN[4:]], "line 1 of 'deep.jsonl' is nested too deeply to be read"),
        ([*SEARCH, "--space", "deep.json"], "'deep.json' is nested too deeply to be read"),
        (RUN[:4], "the results would be lost"),
        ([*RUN[:5], "out.txt"], "'out.txt'; give a file that ends with .csv, .parquet, .jsonl"),
        ([*RUN[:5], "no/dir/out.csv"], "No directory"),
        ([*RUN, "--backend", "quantum"], "There is no evaluator method 'quantum'"),
        ([*RUN, "--backend", "executor"], "use this backend from Python"),
        ([*RUN, "--num-workers", "0"], "num_workers is 0"),
        ([*RUN, "--resume"], "--resume needs --storage"),
        ([*RUN, "--storage", "sqlite:///nowhere.db", "--resume"], "there is no 'nowhere.db'"),
        ([*RUN, "--search-id", "0"], "--search-id needs --resume"),
        ([*RUN, "--max-evals", "3"], "belong to --search"),
        ([*RUN, "--storage", "memory://"], "ends with the program that made it"),
        ([*RUN, "--storage", "runs"], "there is no 'runs'; give a storage as sqlite:///"),
        ([*RUN, "--log-level", "loud"], "the log level is 'loud'; give one of debug, info"),
        (SEARCH, "--search needs --space FILE"),
        ([*SEARCH, "--space", "space.json"], "'lr' in 'space.json' is"),
        (["status", "nowhere.db"], "there is no 'nowhere.db'"),
        (["status", "sqlite:///nowhere.db"], "there is no 'nowhere.db'"),
        (["retry", "grid.jsonl"], "say what to run again"),
        (["plot", "other.db", "-o", "figure.txt"], "give a file that ends with .png"),
        (["doctor", "--backend", "quantum"], "doctor can check serial, thread"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_what_to_do(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*RUN, "-n", "many"], "argument -n/--num-workers: 'many' is not a whole number"),
        ([*RUN, "--timeout", "soon"], "'soon' is not a time; give seconds above 0, or as 90s, 15m, 2h, 1d"),
        (["run", "program:run"], "one of the arguments --configs --search is required"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_option_is_told_as_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_what_fails_outside_has_another_exit_code_and_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "other.db"]) == 1
    assert "is not an SQLite database" in capsys.readouterr().err
    with pytest.raises(CorruptRecord):
        main(["status", "other.db", "--debug"])


@pytest.mark.parametrize(
    "command", ["", "run", "retry", "status", "watch", "serve", "export", "plot", "simulate", "compare", "doctor"]
)
def test_each_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes:" in out if not command else f"  evalpool {command} " in out
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.slow
def test_help_loads_nothing_that_takes_time(evalpool: Command) -> None:
    code = (
        "import sys; from evalpool.cli import commands, main\n"
        "for name in commands.COMMANDS:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit: pass\n"
        "print('loaded', sorted({'numpy', 'pydantic', 'rich', 'logging', 'asyncio', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=evalpool.environment)
    assert done.stdout.endswith("loaded []\n"), done.stdout + done.stderr


def test_every_command_has_a_file_and_every_file_is_a_command() -> None:
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    assert files - {"__init__"} == set(commands.COMMANDS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", 60.0), ("0.5", 0.5), (".5", 0.5), ("1e-4", 1e-4), ("500ms", 0.5), ("90s", 90.0), ("1.5m", 90.0),
        ("15min", 900.0), ("2h", 7200.0), ("1d", 86400.0), ("1e2ms", 0.1), ("-1", -1.0), ("nan", None), ("inf", None),
        ("", None), ("s", None), ("5 weeks", None), ("1_0", None),
    ],
)  # fmt: skip
def test_a_time_is_seconds_or_has_a_unit(text: str, seconds: float | None) -> None:
    assert read_seconds(text) == (None if seconds is None else pytest.approx(seconds))

"""What the pages tell to type in a shell is something that can be typed."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile
from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks_of, pages

from evalpool.cli._parser import build_parser

SHELL = {"sh", "bash", "shell", "console"}
WHERE = [ROOT / "CONTRIBUTING.md", *pages()]


def commands_of(text: str) -> list[list[str]]:
    """The simple commands of the shell blocks of a page, split into words."""
    found = []
    for block in blocks_of(text):
        if block.info not in SHELL:
            continue
        script = re.sub(r"<<\s*(\w+)\n.*?\n\1$", "", "\n".join(block.lines), flags=re.DOTALL | re.MULTILINE)
        for line in script.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>")
            lexer.whitespace_split = True
            command: list[str] = []
            words = iter([*lexer, "|"])
            for word in words:
                if set(word) <= set("|&;"):
                    found.append(command)
                    command = []
                elif set(word) <= set("<>"):
                    next(words)  # the file
                else:
                    command.append(word)
    return [command for command in found if command]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WHERE, ids=_name)
def test_the_options_of_evalpool_commands_exist(page: Path) -> None:
    for command in commands_of(page.read_text("utf-8")):
        words = list(dropwhile(lambda word: re.fullmatch(r"\w+=.*", word), command))  # EVALPOOL_BACKEND=thread evalpool
        if words[:1] == ["evalpool"] and not {"--help", "--version"} & set(words):
            build_parser().parse_args(words[1:])  # else it writes what is wrong, and exits


@pytest.mark.parametrize("page", WHERE, ids=_name)
def test_make_targets_and_scripts_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for command in commands_of(page.read_text("utf-8")):
        if command[0] == "make":
            assert {word for word in command[1:2] if "=" not in word} <= targets, " ".join(command)
        for word in command:
            if re.fullmatch(r"(examples|benchmarks)/\w+\.py", word):
                assert (ROOT / word).exists(), word


def test_a_shell_block_is_split_into_its_commands() -> None:
    lines = ["$ evalpool status a.db | jq . && make demo  # said", "cat > x <<END", "make nothing", "END"]
    lines += ["X=1 evalpool \\", " doctor"]
    assert commands_of("\n".join(["```sh", *lines, "```"])) == [
        ["evalpool", "status", "a.db"],
        ["jq", "."],
        ["make", "demo"],
        ["cat"],
        ["X=1", "evalpool", "doctor"],
    ]

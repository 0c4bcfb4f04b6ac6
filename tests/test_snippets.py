"""What README and documentation show works: Python runs, commands and their options exist.

How a block is tested stands in its first line:

- ``python`` is executed, page by page in one namespace; with ``title="methods/x.py"`` it is a file, too, and what it
  defines is held to the contract of methods or tasks.
- ``bash`` is parsed: commands, options, names of methods and tasks and their settings exist, and so do the targets and
  variables of ``make``. Behind ``<!-- test: run -->`` it is executed by the slow tests, beside the files of its page.
- ``toml`` is parsed; ``csv`` is read by ``tests/test_own_data.py``; ``math`` and ``text`` are shown as they are.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.exceptions import TyperException

from bench import Method, Task, cli
from bench.check import check_method, check_task
from bench.errors import BenchError
from bench.plugins.method import MethodSpec
from bench.plugins.registry import load_method_spec, load_task, names
from bench.runner.request import Request
from tests.test_makefile import make

ROOT = Path(__file__).parent.parent
OURS = ("README.md", "CONTRIBUTING.md", "results/reference/README.md")
PAGES = [*(ROOT / name for name in OURS), *sorted((ROOT / "docs").rglob("*.md"))]
TESTED = {"python", "bash", "toml", "csv"}
SHOWN = {"math", "text"}
RUN = "<!-- test: run -->"
#: programs other than ours in blocks of ``bash``, which are not looked into
OTHERS = {"pip", "ray", "export", "awk"}
COMMANDS: Any = typer.main.get_command(cli.app)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


by_page = pytest.mark.parametrize("page", PAGES, ids=named)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int  # of its first line of code, from 0
    language: str
    options: dict[str, str]  # behind the language: ``title``, which is all that the documentation's Markdown knows
    text: str
    run: bool  # by the slow tests

    @property
    def file(self) -> str:
        return self.options.get("title", "")

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each command."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def inline(page: Path, kind: str) -> list[Token]:
    return [child for token in tokens(page) for child in token.children or () if child.type == kind]


def blocks(page: Path) -> list[Block]:
    found, before = [], ""
    for token in tokens(page):
        assert token.type != "code_block", f"{page}:{token.map}: fence this block and say in which language it is"
        if token.type == "fence":
            language, _, options = (token.info or "text").partition(" ")
            line = token.map[0] + 1 if token.map else 0
            known = dict(re.findall(r'(\w+)="(.*?)"', options))
            assert set(known) <= {"title"}, f"{page}:{line}: {options} ends the block where pages are built"
            found.append(Block(page, line, language, known, token.content, before == RUN))
        before = token.content.strip()
    return found


def pages_with(kind: Callable[[Block], bool]) -> list[Path]:
    return [page for page in PAGES if any(map(kind, blocks(page)))]


def own(kind: str) -> set[str]:
    """The methods or tasks that pages define, or let a command write."""
    every = [block for page in PAGES for block in blocks(page)]
    files = [Path(block.file) for block in every if block.file]
    commands = [words for block in every if block.language == "bash" for words in block.commands]
    written = {words[2] for words in commands if words[:2] == ["bench", f"new-{kind.removesuffix('s')}"]}
    return {file.stem for file in files if file.parent.name == kind} | written


def command_of(words: list[str]) -> tuple[str, Any, list[str]]:
    """Its name, itself, and what is left for it to read."""
    name, command, rest = "", COMMANDS, list(words)
    while hasattr(command, "commands"):
        assert rest and rest[0] in command.commands, f"bench{name} has no command {' '.join(rest[:1])}"
        name, command = f"{name} {rest[0]}", command.commands[rest.pop(0)]
    return name.strip(), command, rest


def options(command: Any) -> Iterator[str]:
    """The options of a command, or of all commands of a group."""
    for inner in getattr(command, "commands", {}).values():
        yield from options(inner)
    for parameter in command.params:
        yield from parameter.opts


def check_bench(words: list[str]) -> None:
    """Typer takes the command, and the plugins that it names exist and take these settings."""
    if words[-1] == "--help":
        assert {*words[:-1]} <= {*COMMANDS.commands}
        return
    name, command, rest = command_of(words)
    given = command.make_context(name, rest).params
    if name == "check" and not given["name"].isupper():
        assert given["name"] in {*names("methods"), *names("tasks"), *own("methods"), *own("tasks")}
    if not given.get("task") or given["task"].isupper() or given["task"] in own("tasks"):
        return
    request = requested(words) if name == "run" else None
    fields = dict(request.fields) if request else {"model": given.get("model")}
    if ":" in (fields.get("model") or ":"):  # none, or one that the reader would bring
        fields.pop("model", None)
    load_task(given["task"]).at(given.get("preset", "smoke"), **fields)
    for method in request.methods if request else ():
        assert method == "all" or method in own("methods") or load_method_spec(method)


def requested(words: list[str]) -> Request:
    """What a run would begin with."""
    asked: list[Request] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.runner.command.run", asked.append)
        patch.setattr("bench.runner.command.present_device", str)  # the reader's machine may have a GPU
        cli.app(words, standalone_mode=False)
    return asked[0]


def check_make(words: list[str]) -> None:
    """The target and its variables exist, and what they become is a command that exists."""
    done = make(ROOT, "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if line.startswith(".venv/bin/bench "):
            check_bench(shlex.split(line)[1:])


def check_command(words: list[str]) -> None:
    program, *rest = words
    if program == "bench":
        check_bench(rest)
    elif program == "make":
        check_make(rest)
    else:
        assert program in OTHERS, f"{program} is none of bench, make, {', '.join(sorted(OTHERS))}"


@by_page
def test_commands_exist(page: Path) -> None:
    for block in blocks(page):
        assert block.language in TESTED | SHOWN, f"{page}:{block.line}: blocks of {block.language!r} are not tested"
        for words in block.commands if block.language == "bash" else ():
            try:
                check_command(words)
            except Exception as error:
                raise AssertionError(f"{page}:{block.line}: {shlex.join(words)}: {error}") from error


@by_page
def test_commands_and_options_in_sentences_exist(page: Path) -> None:
    known = {"--help", *options(COMMANDS)}
    for token in inline(page, "code_inline"):
        words = shlex.split(token.content) if token.content.startswith(("bench ", "make ", "--")) else [""]
        if words[0] == "bench" and command_of(words[1:])[2]:  # more than its name
            check_bench(words[1:])
        elif words[0] == "make":
            check_make(words[1:])
        elif words[0].startswith("--"):
            assert words[0] in known, token.content


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(b.language in ("python", "toml") for b in blocks(p))], ids=str
)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look the module up
    for block in blocks(page):
        if block.language == "toml":
            groups = tomllib.loads(block.text)["project"]["entry-points"]
            assert {*groups} <= {"bench.methods", "bench.tasks"}
        elif block.language == "python":
            before = dict(vars(module))
            exec(compile("\n" * block.line + block.text, str(page), "exec"), vars(module))
            check_file(block, [value for name, value in vars(module).items() if before.get(name) is not value])


def check_file(block: Block, defined: list[object]) -> None:
    """A file that a page shows is a method, a task, or something else."""
    kind, name = Path(block.file).parent.name, Path(block.file).stem
    classes = [value for value in defined if isinstance(value, type) and value.__module__.startswith("page_")]
    if kind == "methods":
        assert len(block.text.splitlines()) <= 40
        (method,) = (value for value in classes if issubclass(value, Method))
        assert any("of the dense MACs" in line for line in check_method(MethodSpec(name, name, (method,), {})))
    if kind == "tasks":
        assert len(block.text.splitlines()) <= 80
        (task,) = (value for value in classes if issubclass(value, Task))
        assert "items score as the whole" in list(check_task(task.at("smoke")))


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(lambda block: block.run), ids=named)
def test_marked_commands_run(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).parent.mkdir(exist_ok=True)
            (tmp_path / block.file).write_text(block.text)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    options: Any = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": path}, "capture_output": True, "text": True}
    for words in (words for block in blocks(page) if block.run for words in block.commands):
        command = [sys.executable, "-m", *words]
        run = subprocess.run(command, **options, check=False)
        assert run.returncode == 0, f"{shlex.join(words)}: {run.stdout}{run.stderr}"


def test_a_command_that_does_not_exist_is_found() -> None:
    """The checks themselves: each of these is refused."""
    check_command(["bench", "run", "antispoof", "--seeds", "3"])
    for line in (
        *("bnech list", "bench lsit", "bench run antispoof --budget 0.5", "bench run antispof"),
        *("bench run antispoof --preset quik", "bench run antispoof --methods feature_nois", "bench check dens"),
        *("bench run antispoof --methods feature_noise:frm=literal", "bench run antispoof --set sed=1"),
        *("bench run antispoof --seeds three", "make bnech", "make bench PRESETS=smoke", "make bench TASK=antispof"),
    ):
        with pytest.raises((AssertionError, BenchError, TyperException, TypeError)):
            check_command(shlex.split(line))

"""The targets of the Makefile hand their variables to the command, and refuse those that they do not know."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"
VARIABLES = ("TASK", "PRESET", "METHODS", "BUDGETS", "SEEDS", "DATA", "MODEL", "RESULTS", "ARGS")
STUB = "#!/bin/sh\nprintf '%s\\0' \"$@\" > called\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile in a folder that is set up, with a command that notes its arguments."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(MAKEFILE.parent / name, tmp_path)
    command = tmp_path / ".venv" / "bin" / "bench"
    command.parent.mkdir(parents=True)
    command.write_text(STUB)
    command.chmod(0o755)
    (tmp_path / ".venv" / ".ready").write_text("")
    return tmp_path


def make(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    of_make = ("MAKE", "MFLAGS", *VARIABLES)  # these tests may run below `make test ARGS=...`, which exports it
    environment = {name: value for name, value in os.environ.items() if not name.startswith(of_make)}
    return subprocess.run(
        ["make", *arguments],
        cwd=project,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def called(project: Path, *arguments: str, **variables: str) -> list[str]:
    """What the command was called with."""
    done = make(project, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return (project / "called").read_text().split("\0")[:-1]


def test_a_target_without_variables(project: Path) -> None:
    assert called(project, "bench") == ["run", "antispoof"]
    assert called(project, "report") == ["report", "antispoof"]
    assert called(project, "ui") == ["ui"]


def test_every_variable_becomes_an_option(project: Path) -> None:
    given = ("TASK=vad", "PRESET=smoke", "METHODS=dense", "BUDGETS=0.5,0.25", "SEEDS=3", "DATA=/d", "MODEL=m")
    options = ["--preset=smoke", "--methods=dense", "--budgets=0.5,0.25", "--seeds=3", "--data=/d", "--model=m"]
    run, task, *found = called(project, "bench", *given, "RESULTS=/r", "ARGS=--trials 3 --set 'a=b c'")
    assert (run, task) == ("run", "vad")
    assert sorted(found[:-4]) == sorted([*options, "--results=/r"])
    assert found[-4:] == ["--trials", "3", "--set", "a=b c"]
    shown = called(project, "report", "TASK=vad", "PRESET=smoke", "MODEL=m", "RESULTS=/r")
    assert shown == ["report", "vad", "--preset=smoke", "--model=m", "--results=/r"]
    assert called(project, "ui", "RESULTS=/r", "ARGS=--port 3") == ["ui", "--results=/r", "--port", "3"]


def test_a_variable_of_the_environment_counts_too(project: Path) -> None:
    assert called(project, "bench", PRESET="smoke") == ["run", "antispoof", "--preset=smoke"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "/data/a  folder",
            "a+b:x=1,y=2;dense",
            "it's",
            '"',
            "$HOME",
            "$(HOME)",
            "${HOME}",
            "`id`",
            "#",
            "\\",
            "a\\ b",
        ),
        *("x; touch made", "x' touch made '", "$(shell touch made)", "$(touch made)", "x & touch made", "*", "-x", "%"),
    ],
)
def test_a_value_is_handed_over_as_it_is(project: Path, value: str) -> None:
    assert called(project, "bench", f"DATA={value}") == ["run", "antispoof", f"--data={value}"]
    assert called(project, "bench", DATA=value) == ["run", "antispoof", f"--data={value}"]
    assert called(project, "bench", f"TASK={value}") == ["run", value]
    assert not (project / "made").exists()


def test_a_value_of_several_lines_is_refused(project: Path) -> None:
    refused = make(project, "--ignore-errors", "bench", "DATA=x\ntouch made")
    assert refused.returncode == 2 and "DATA has more than one line" in refused.stderr
    assert not (project / "made").exists() and not (project / "called").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bench", "PRESETS=smoke"), "make bench has no variable PRESETS (did you mean PRESET?)"),
        (("bench", "METHOD=dense"), "make bench has no variable METHOD (did you mean METHODS?)"),
        (
            ("bench", "preset=smoke"),
            "make bench has no variable preset; it has: ARGS BUDGETS COST DATA METHODS MODEL PRESET",
        ),
        (("ui", "METHODS=x y"), "make ui has no variable METHODS; it has: ARGS PYTHON RESULTS"),
        (("report", "SEEDS=3"), "make report has no variable SEEDS"),
        (("test", "TASK=vad"), "make test has no variable TASK; it has: ARGS PYTHON"),
        (("perf", "ARGS=x"), "make perf has no variable ARGS; it has: PYTHON"),
        (("validate", "ARGS=x"), "make validate has no variable ARGS; it has: PYTHON"),
        (("clean", "ARGS=x"), "make clean has no variable ARGS; it has: none"),
        (("PRESET=smoke",), "make setup has no variable PRESET; it has: PYTHON"),
        (("bench", "BENCH=true"), "make bench has no variable BENCH"),
    ],
)
def test_an_unknown_variable_is_named(project: Path, arguments: tuple[str, ...], message: str) -> None:
    refused = make(project, *arguments)
    assert refused.returncode == 2 and message in refused.stderr
    assert not (project / "called").exists()
    assert not make(project, "--dry-run", *arguments).stdout


def test_values_that_look_like_variables_are_none(project: Path) -> None:
    assert called(project, "bench", "METHODS=a:x=1, b:PRESETS=2")[-1] == "--methods=a:x=1, b:PRESETS=2"

"""`bench data check`: a table of what is there, every problem in a line, exit code 2 if it cannot be trained on."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import cli
from tests.conftest import SmokeRun
from tests.tasks.manifests import antispoof_rows, vad_rows, write_corpus, write_sound, write_table
from tests.tasks.vad_folders import write_esc50, write_vctk

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """Run the command in this process: its exit code, and what it said on both streams."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        command = ["bench", "data", "check", "--results", str(tmp_path / "results"), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def rows_of(table: str) -> list[list[str]]:
    """The cells of the lines of the table, by its split."""
    lines = [line.split() for line in table.splitlines()]
    return [line for line in lines if line and line[0] in ("train", "dev", "eval")]


def test_what_is_there_is_counted(tmp_path: Path, check: Check) -> None:
    rows = [*antispoof_rows(), ("wav/more.flac", "spoof", "eval", "eval-2", "A07")]
    code, out, err = check(write_corpus(tmp_path / "mine", "attack", rows).parent, "--task", "antispoof")
    assert (code, err) == (0, "") and out.endswith("Task antispoof can be trained on this data.\n")
    table = rows_of(out)
    assert [" ".join(line[:4]) for line in table] == [
        *("train bonafide 2 50", "train spoof 2 50", "dev bonafide 2 50", "dev spoof 2 50"),
        *("eval bonafide 2 40", "eval spoof 3 60"),
    ]
    assert " ".join(table[-1][5:]) == "0:00:02 0.6 to 0.6 8, 16, 44.1 1, 2 2 A00 1, A01 1, A07 1"


def test_the_share_of_speech_is_shown(tmp_path: Path, check: Check) -> None:
    code, out, _ = check(write_corpus(tmp_path / "mine", "segments", vad_rows()), "--task", "vad")
    assert code == 0 and rows_of(out)[0][-3:] == ["1", "29", "%"]  # (0.15 + 0.2) s of two recordings of 0.6 s


def test_every_problem_is_a_line_that_names_the_file(tmp_path: Path, check: Check) -> None:
    rows = antispoof_rows()
    root = write_corpus(tmp_path / "mine", "attack", rows).parent
    (root / rows[0][0]).write_bytes(b"")
    (root / rows[1][0]).unlink()
    write_sound(root / rows[4][0], 2, seconds=0.6).replace(root / rows[5][0])
    rows[2] = ("../x.flac", *rows[2][1:])
    rows[-1] = (*rows[-1][:3], "train-1", rows[-1][4])
    code, out, err = check(write_table(root, "attack", rows), "--task", "antispoof")
    assert code == 2 and err == "error: task antispoof cannot be trained on this data: mend what is listed above\n"
    assert f"manifest.csv, line 2: {root / rows[0][0]}: it cannot be read as sound" in out
    assert f"manifest.csv, line 3: {root / rows[1][0]}: there is no such file" in out
    assert f"manifest.csv, line 4: {root / rows[2][0]}: expected a path within {root}" in out
    assert f"manifest.csv, line 6: {root / rows[4][0]}: there is no such file" in out
    assert "speaker train-1 is in train and in eval" in out


def test_a_mistake_of_the_whole_is_one_message(tmp_path: Path, check: Check) -> None:
    table = write_table(tmp_path / "mine", "segments", [])
    for arguments, message in (
        ((table, "--task", "vad"), f"{table} lists nothing: expected a line for each recording below its header."),
        ((tmp_path / "no.csv", "--task", "vad"), f"Manifest {tmp_path / 'no.csv'} does not exist: expected a table"),
        (("--task", "synthetic"), "task synthetic has no recordings that could be checked: it reads no sound files"),
        (("--task", "vda"), "no task is called 'vda' (did you mean 'vad'?)"),
        (("--task", "vad", "--set", "nose=1"), "task vad has no field 'nose'"),
    ):
        code, _, err = check(*arguments)
        assert code == 2 and err.startswith(f"error: {message}") and err.count("\n") == 1


def test_published_layouts_are_checked(tmp_path: Path, check: Check) -> None:
    """VCTK's recordings hold the same samples in these folders, which is a leak."""
    noise = write_esc50(tmp_path / "esc50")
    speech = write_vctk(tmp_path / "vctk")
    code, out, err = check(speech, "--task", "vad", "--set", f"noise={noise}")
    labels = [line[:3] for line in rows_of(out)]
    assert labels[0] == ["train", "speech", "4"] and labels[-1] == ["eval", "noise", "2"]
    assert code == 2 and "esc50" in out and "has the same samples as" in out and "Traceback" not in err


def test_the_embedded_corpus_can_be_trained_on(smoke: SmokeRun, check: Check) -> None:
    code, out, err = check("--task", "antispoof", "--preset", "smoke", "--results", smoke.results)
    assert (code, err) == (0, ""), out
    assert [line[:3] for line in rows_of(out)][:2] == [["train", "bonafide", "38"], ["train", "spoof", "58"]]

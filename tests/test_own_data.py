"""The tables and commands on the page about data of one's own."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks._speech.manifest import Manifest
from tasks.antispoof.manifest import manifest_at
from tasks.vad.manifest import Listed, segments_of
from tests.test_snippets import ROOT, blocks

PAGE = ROOT / "docs" / "own_data.md"


@pytest.mark.parametrize(("number", "kind"), [(0, manifest_at), (1, lambda path: Listed(path).manifest)])
def test_examples_of_tables_are_read(number: int, kind: Callable[[Path], Manifest], tmp_path: Path) -> None:
    tables = [block.text for block in blocks(PAGE) if block.language == "csv"]
    (tmp_path / "manifest.csv").write_text(tables[number], encoding="utf-8")
    rows = kind(tmp_path / "manifest.csv").recordings
    assert len(tables) == 2 and len(rows) == 3 and not any(row.problem for row in rows)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("txt", "0.350000\t1.200000\tspeech\n1.8\t3.05\t\n"),
        (
            "rttm",
            "SPKR-INFO a 1 <NA>\nSPEAKER a 1 0.35 0.85 <NA> <NA> x <NA> <NA>\nSPEAKER a 1 1.8 1.25 <NA> <NA> y <NA>\n",
        ),
    ],
)
def test_labels_of_others_become_segments(kind: str, labels: str, tmp_path: Path) -> None:
    (tmp_path / f"anna.{kind}").write_text(labels)
    (command,) = re.findall(rf"^(awk .* anna\.{kind})$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    said = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S602
    assert segments_of("speech", said.stdout) == {"segments": ((0.35, 1.2), (1.8, 3.05))}

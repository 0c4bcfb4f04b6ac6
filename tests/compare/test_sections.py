"""What `bench compare` prints and writes."""

import sys
from pathlib import Path

import pytest

from bench import cli
from bench.compare import compare_results
from bench.compare.sections import comparison_sections
from bench.compare.sides import load_sides
from bench.compare.verdicts import repeated_models
from bench.errors import BenchError
from bench.report.document import render_markdown
from bench.results.points import load_points
from tests.compare.cases import as_csv, closing, made, said


def test_csv_agrees_with_the_folder_that_it_was_written_from(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", 20).save()
    csv = as_csv(folder, tmp_path / "points.csv")
    repeated = repeated_models(*load_sides(folder, csv))
    assert len(repeated) == 60 and set(repeated["side"]) == {"both"} and not repeated["differing"].astype(bool).any()
    text = said(csv, folder)
    assert "A is a points.csv, which does not say how it was made." in text and "in the same way" not in text
    assert closing(csv, folder).startswith("No: all 3 points")


def test_csv_of_another_time_with_more_or_fewer_columns(tmp_path: Path) -> None:
    folder = made(tmp_path / "a").save()
    table = load_points(folder).table
    table.assign(energy_joule=range(6)).drop(columns=["bops", "latency_ratio", "key"]).to_csv(tmp_path / "p.csv")
    text = said(folder, tmp_path / "p.csv")
    assert "keys of the models are not known on both sides" in text and "No: all 3 points" in text


def test_command_prints_writes_and_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(tmp_path / "a", 8).save(), made(tmp_path / "b", 8, first_key=100, gain=6, rng=2).save()
    output = tmp_path / "difference.md"
    monkeypatch.setattr(sys, "argv", ["bench", "compare", str(first), str(second), "--output", str(output)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "better, p = 0.023" in printed
    assert max(map(len, printed.splitlines())) <= 132
    written = output.read_text()
    assert written.startswith("# antispoof/quick against") and "| better, p = 0.023 |" in written
    with pytest.raises(BenchError, match=r"cannot write .*--output"):
        compare_results(first, second, tmp_path / "nowhere" / "x.md")


def test_markdown_table_keeps_its_columns(tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    folder.add("chain|of|bars", 0.25, 9, 10.0)
    lines = render_markdown(comparison_sections(*load_sides(folder.save(), folder.folder))).splitlines()
    table = [line.replace(r"\|", "") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and any(r"chain\|of\|bars" in line for line in lines)

"""What `bench explain` prints and draws."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import Widths
from bench.report.explain import explain, explained
from tasks.antispoof import Antispoof


def test_every_weight_has_its_share_and_what_stays_its_reason() -> None:
    task = Antispoof(model="resnet10")
    rows = explained(Widths(task.build_model(), task.example_input()))
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert rows[0].makes
    assert rows[-1].stays == "an output of the model"


def test_the_table_and_the_picture_name_groups_and_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain(Antispoof(), tmp_path / "widths.svg")
    printed = capsys.readouterr().out
    assert "stem.0" in printed
    assert "smallest model" in printed
    ElementTree.parse(tmp_path / "widths.svg")
    drawn = (tmp_path / "widths.svg").read_text()  # texts are outlines, beside each of which its words stand
    assert all(f"<!-- {name} -->" in drawn for name in ("stem.0", "layers.1.0", "head"))

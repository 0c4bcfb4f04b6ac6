"""What others have published stands beside a run and changes nothing in it."""

import re
from pathlib import Path

import pandas as pd
import pytest

from bench.report import published, write_report
from bench.report.answer import answer, budget_duels
from bench.report.covered import hypervolumes, on_front
from bench.results.points import load_points
from tests.written import Written

LABEL = "published on ASVspoof 2019 LA: feature noise"


def comparison(folder: Path, *, task: str = "antispoof", preset: str = "paper", model: str = "resnet34") -> Path:
    """A comparison with a method of each camp."""
    written = Written(folder / task / preset)
    written.index |= {"task": task, "preset": preset}
    written.index["setting"]["fields"]["model"] = model
    written.add("feature_noise", 0.5, 10, 12)
    written.add("magnitude_pruning", 0.5, 10, 14, stage="post_hoc")
    return written.save()


def table(folder: Path) -> pd.DataFrame:
    return published.published_points(load_points(folder)).set_index("model")


def test_shares_are_of_the_published_dense_model(tmp_path: Path) -> None:
    found = table(comparison(tmp_path))
    assert found.loc["ResNet34", "share"] == 1
    smallest = found[found["params"] == 500_000].iloc[0]
    assert smallest["share"] == pytest.approx(0.91 / 5.64) and smallest["score"] == 2.53
    assert found["share"].notna().sum() == 21
    assert found.loc["T05", "score"] == 0.22 and pd.isna(found.loc["T05", "share"])
    assert set(found["data"]) == {"ASVspoof 2019 LA"} and found["source"].str.contains("arXiv 2601.13704").all()


@pytest.mark.parametrize(
    ("model", "dense", "row", "expected"),
    [
        ("crnn", "CRNNVAD", "DCRNNVAD 0.25", {"share": 0.635721 / 2.249961, "score": 9.42, "SNR <5 dB": 14.31}),
        ("transformer", "TrVAD", "DTrVAD 0.0625", {"share": 0.52316 / 19.573904, "score": 10.77, "SNR >=25 dB": 5.34}),
    ],
)
def test_the_model_of_the_task_selects_the_family(
    tmp_path: Path, model: str, dense: str, row: str, expected: dict[str, float]
) -> None:
    found = table(comparison(tmp_path, task="vad", model=model))
    assert len(found) == 9 and found.loc[dense, "share"] == 1
    assert found.loc[row, list(expected)].to_dict() == pytest.approx(expected)
    assert len(published.part_names(found.reset_index())) == 4


def test_a_corrected_parameter_count_follows_from_the_mel_bands(tmp_path: Path) -> None:
    found = table(comparison(tmp_path, task="vad", model="transformer"))
    assert found.loc["DTrVAD 0.0625", "params"] == found.loc["DTrVAD 0.125", "params"] == 3578


def test_they_are_drawn_where_the_models_are_alike(tmp_path: Path) -> None:
    folder = comparison(tmp_path)
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert LABEL in page and LABEL in (folder / "front.svg").read_text()
    assert re.search(r"<details open><summary>33 published scores: ASVspoof 2019 LA", page)
    assert "no part\nof any verdict" in page
    assert "DynResNet34" in (folder / "report.md").read_text()


def test_short_presets_only_list_them(tmp_path: Path) -> None:
    folder = comparison(tmp_path, preset="quick")
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert LABEL not in page and "Hollow grey points" not in page
    assert re.search(r"<details><summary>33 published scores", page)
    assert "DynResNet34" not in (folder / "report.md").read_text()


def test_no_verdict_front_or_hypervolume_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = load_points(comparison(tmp_path))

    def verdict() -> list[str]:
        parts = (budget_duels(points), hypervolumes(points), on_front(points))
        return [answer(points), *(part.to_json() for part in parts)]

    before = verdict()
    assert len(published.published_points(points)) == 33
    monkeypatch.setattr(published, "FOLDER", tmp_path / "nowhere")
    assert published.published_points(points).empty
    assert verdict() == before


def test_where_there_are_none_the_report_does_not_mention_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "FOLDER", tmp_path / "nowhere")
    folder = comparison(tmp_path)
    write_report(folder)
    assert "ublished" not in (folder / "report.html").read_text() + (folder / "report.md").read_text()


def test_another_task_metric_or_model_has_none(tmp_path: Path) -> None:
    folder = comparison(tmp_path, task="somebody_elses")
    assert published.published_points(load_points(folder)).empty
    folder = comparison(tmp_path, task="vad", model="perceptron")
    assert published.published_points(load_points(folder)).empty
    written = Written(tmp_path / "other" / "antispoof" / "paper")
    written.index["metric"] = {"name": "accuracy", "unit": "percent", "direction": "maximize"}
    assert published.published_points(load_points(written.save())).empty

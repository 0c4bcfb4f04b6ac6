"""One preset with several models: each is a comparison of its own, and none is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import BenchError
from bench.plugins.task import Metric
from bench.results.points import load_points, select_comparison
from bench.runner.progress import Screen
from tests.written import Written


def comparison(folder: Path, model: str, dev: float) -> None:
    written = Written(folder)
    written.index["setting"]["fields"] = {"model": model}
    written.index["identity"] = model
    files = written.add("dense", None, dev, dev, control=True)
    files.rename(files.with_name(model))
    written.index["methods"]["dense"]["trials"][0]["key"] = model
    written.save()
    (folder / "comparisons").mkdir(exist_ok=True)
    (folder / "comparisons" / f"{model}.json").write_text(json.dumps(written.index))


def test_an_earlier_model_of_the_preset_is_shown_again(tmp_path: Path) -> None:
    comparison(tmp_path, "crnn", 11.0)
    comparison(tmp_path, "transformer", 7.0)
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [7.0]
    select_comparison(tmp_path, {"model": "crnn"})
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [11.0]


def test_a_model_without_results_is_named_with_those_that_have_some(tmp_path: Path) -> None:
    comparison(tmp_path, "crnn", 11.0)
    with pytest.raises(BenchError, match=r"no results with model lstm.*there are: model crnn"):
        select_comparison(tmp_path, {"model": "lstm"})


def test_a_method_that_does_not_apply_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    record: dict[str, Any] = {"status": "declined", "reason": "no width is free"}
    with Screen(Console(width=200), Metric("eer", unit="percent", direction="minimize")) as screen:
        screen.expect(1)
        screen.trial_finished("feature_noise at 0.25", record)
    assert "does not apply  feature_noise at 0.25: no width is free" in capsys.readouterr().out

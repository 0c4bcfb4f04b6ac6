"""One preset with several models is several comparisons, each of which can be read again."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import BenchError, cli
from bench.results.index import INDEX, select_comparison, write_index
from bench.results.points import load_points
from bench.storage.files import read_json
from bench.trial.compress import Setting
from tests.written import Written


def comparison(folder: Path, model: str, dev: float, identity: str = "", date: str | None = None) -> None:
    identity, written = identity or model, Written(folder)
    written.index["setting"]["fields"] = {"model": model}
    written.index["identity"] = identity
    written.index["provenance"].update({} if date is None else {"date": date})
    files = written.add("dense", None, dev, dev, control=True)
    files.rename(files.with_name(identity))
    written.index["methods"]["dense"]["trials"][0]["key"] = identity
    written.save()
    (folder / "comparisons").mkdir(exist_ok=True)
    (folder / "comparisons" / f"{identity}.json").write_text(json.dumps(written.index))


def test_the_index_says_what_was_asked_for(tmp_path: Path) -> None:
    setting = Setting("synthetic", "smoke", cache=str(tmp_path), width_multiple=4)
    write_index(tmp_path, setting, {}, best_possible=[], budgets=[0.3], trials=7, seeds=5, provenance={})
    index = read_json(tmp_path / INDEX)
    assert index is not None and (index["budgets"], index["trials"], index["seeds"]) == ([0.3], 7, 5)
    assert index["setting"]["width_multiple"] == 4
    assert index["setting"]["plan"].keys().isdisjoint({"budgets", "trials", "seeds"}) and "plan" not in index


def test_an_earlier_model_of_the_preset_is_shown_again(tmp_path: Path) -> None:
    comparison(tmp_path, "crnn", 11.0)
    comparison(tmp_path, "transformer", 7.0)
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [7.0]
    select_comparison(tmp_path, "crnn")
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [11.0]


def test_a_model_without_results_is_named_with_those_that_have_some(tmp_path: Path) -> None:
    comparison(tmp_path, "crnn", 11.0, "a")
    comparison(tmp_path, "crnn", 9.0, "b")
    with pytest.raises(BenchError, match=r"no results with model lstm.*there are: model crnn$"):
        select_comparison(tmp_path, "lstm")


def test_a_comparison_of_earlier_is_named_by_its_key(tmp_path: Path) -> None:
    for number, corpus_seed in enumerate(("0", "1", "2")):
        identity = f"{number}{corpus_seed}aaaaaaaaaa"
        comparison(tmp_path, "crnn", 10.0 + number, identity, f"2026-01-0{number + 1}T10:00:00+00:00")
        written = read_json(tmp_path / "comparisons" / f"{identity}.json")
        assert written is not None
        written["setting"] = {"fields": {"model": "crnn", "corpus_seed": corpus_seed}, "cost": "macs"}
        (tmp_path / "comparisons" / f"{identity}.json").write_text(json.dumps(written))
    select_comparison(tmp_path, None, "11aa")
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [11.0]
    listed = "00aaaaaa 2026-01-01T10:00 corpus_seed=0; 11aaaaaa 2026-01-02T10:00 corpus_seed=1; 22aaaaaa "
    with pytest.raises(BenchError, match=f"no comparison begins with 'ff' in .*there are: {listed}"):
        select_comparison(tmp_path, "crnn", "ff")
    with pytest.raises(BenchError, match="3 comparisons begin with ''"):
        select_comparison(tmp_path, None, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metric", None), ("metric", {"name": "eer", "unit": "percent", "direction": "up"}), ("task", 3),
        ("identity", []), ("setting", {}), ("setting", {"fields": [1]}), ("methods", []), ("methods", {"dense": 1}),
        ("methods", {"dense": {"stage": "late", "control": True, "trials": []}}),
        ("methods", {"dense": {"stage": "post_hoc", "control": True, "trials": [{"key": "a"}]}}),
    ],
)  # fmt: skip
def test_an_index_of_another_shape_is_damaged(tmp_path: Path, name: str, value: object) -> None:
    comparison(tmp_path, "crnn", 11.0)
    assert len(load_points(tmp_path).table) == 1
    kept, index = tmp_path / "comparisons" / "crnn.json", json.loads((tmp_path / INDEX).read_text())
    for path in (tmp_path / INDEX, kept):
        path.write_text(json.dumps({**index, name: value}))
    with pytest.raises(BenchError, match=r"comparison.json is damaged: run `bench run .*finished trials are kept"):
        load_points(tmp_path)
    with pytest.raises(BenchError, match="no results with model crnn"):
        select_comparison(tmp_path, "crnn")


@pytest.mark.parametrize("first", ["a", "z"])
def test_of_several_comparisons_of_a_model_the_latest_is_shown(tmp_path: Path, first: str) -> None:
    """Whatever the order of their files, and though another has been run since."""
    second = {"a": "z", "z": "a"}[first]
    comparison(tmp_path, "crnn", 11.0, first, "2026-01-31T10:00:00+00:00")
    comparison(tmp_path, "crnn", 9.0, second, "2026-02-01T09:00:00+00:00")
    comparison(tmp_path, "transformer", 7.0)
    select_comparison(tmp_path, "crnn")
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [9.0]


@pytest.mark.parametrize(("dates", "shown"), [
    ((None, "2026-01-31T10:00:00+00:00"), 9.0), (("2026-01-31T10:00:00+00:00", None), 11.0), ((None, None), 9.0),
    (("2026-01-31T10:00:00+00:00", "2026-01-31T10:00:00+00:00"), 9.0),
])  # fmt: skip
def test_a_comparison_without_a_date_counts_as_the_oldest(
    tmp_path: Path, dates: tuple[str | None, str | None], shown: float
) -> None:
    comparison(tmp_path, "crnn", 11.0, "a", dates[0])
    comparison(tmp_path, "crnn", 9.0, "b", dates[1])
    select_comparison(tmp_path, "crnn")
    assert load_points(tmp_path).table["dev_eer_percent"].tolist() == [shown]


def test_commands_read_the_comparison_that_is_named(tmp_path: Path) -> None:
    """As the last one is read unless another is named, what is printed names it."""
    folder = tmp_path / "antispoof" / "quick"
    folder.mkdir(parents=True)
    comparison(folder, "crnn", 11.0, "1111aaaabbbb", "2026-01-31T10:00:00+00:00")
    comparison(folder, "transformer", 7.0, "2222aaaabbbb", "2026-02-01T09:00:00+00:00")
    where = ("antispoof", "--results", str(tmp_path))

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(cli.app, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    assert "--comparison 2222aaaa" in said("pick", *where)
    assert "--comparison 1111aaaa" in said("pick", *where, "--comparison", "1111")
    assert "--comparison KEY`:\n  1111aaaa 2026-01-31T10:00 model=crnn" in said("report", *where)
    assert "\n  2222aaaa 2026-02-01T09:00 model=transformer" in said("report", *where, "--comparison", "1111")
    assert load_points(folder).table["dev_eer_percent"].tolist() == [11.0]

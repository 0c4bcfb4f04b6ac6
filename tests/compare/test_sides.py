"""What is compared: two result sets of one task, how they were made, and which points match."""

import json
import shutil
from pathlib import Path

import pytest

from bench.compare.sides import load_sides, origins_differing
from bench.compare.verdicts import match_points
from bench.errors import BenchError
from tests.compare.cases import as_csv, found, made, said
from tests.written import Written


def test_seeds_are_paired_only_if_the_start_is_known_to_be_the_same(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 8).save()
    other = made(tmp_path / "b", 8, first_key=100, rng=1)
    for record in other.folder.glob("trials/*/trial.json"):
        content = json.loads(record.read_text())
        if content["start"]:
            record.write_text(json.dumps(content | {"start": {"eer_percent": 12.9}}))  # another dense model
    of = found(first, other.save())
    assert of["feature_noise"].paired and not of["magnitude_pruning"].paired
    other.index["setting"]["data"] = "eeee"
    assert not any(v.paired for v in found(first, other.save()).values())
    csv = as_csv(other.folder, tmp_path / "points.csv")
    assert not any(v.paired for v in found(first, csv).values())


def test_other_preset_plan_and_data_are_said_to_make_other_numbers(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b", first_key=100)
    other.index["preset"] = "full"
    other.index["setting"]["plan"]["dense_steps"] = 9
    other.index["setting"]["data"] = "eeee"
    other.index["provenance"]["packages"]["torch"] = "2.12.0"
    second = other.save()
    differing = origins_differing(*load_sides(first, second))
    assert ("packages: torch", "2.11.0", "2.12.0") in differing and ("plan: dense_steps", "525", "9") in differing
    assert "because these differ: preset, plan: dense_steps, data." in said(first, second)


def test_other_trials_and_widths_are_said_to_make_other_numbers(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b", first_key=100)
    other.index["trials"], other.index["setting"]["width_multiple"] = 9, 8
    text = said(first, other.save())
    assert "because these differ: trials, setting: width_multiple." in text
    assert "| trials | 4 | 9 |" in text and "| setting: width_multiple | 1 | 8 |" in text


@pytest.mark.parametrize(("digest", "told"), [("eeee", True), ("d1c2", False), (None, False)])
def test_other_data_is_said_in_plain_words(digest: str | None, told: bool, tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b", first_key=100)
    other.index["setting"]["data"] = digest
    sentence = "The two were trained on different data (digest A d1c2, digest B eeee)"
    assert (sentence in said(first, other.save())) is told


def test_date_and_command_make_no_difference(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b")
    other.index["provenance"] |= {"date": "2026-01-01", "command": "bench run again"}
    assert not origins_differing(*load_sides(first, other.save()))


def test_a_point_stands_for_the_budget_it_was_chosen_for(tmp_path: Path) -> None:
    first, second = Written(tmp_path / "a" / "x" / "quick"), Written(tmp_path / "b" / "x" / "quick", 100)
    first.add("feature_noise", 0.25, 9, 10.0)
    second.add("feature_noise", 0.21, 9, 11.0)  # the search asked for less, and chose it for the same quarter
    points = match_points(*load_sides(first.save(), second.save())).both
    assert [point.budget for point in points] == [0.25] and points[0].other_settings


def test_each_side_has_its_own_budgets(tmp_path: Path) -> None:
    first, second = Written(tmp_path / "a" / "x" / "quick"), Written(tmp_path / "b" / "x" / "quick", 100)
    first.add("feature_noise", 0.21, 9, 10.0)  # a candidate for its quarter
    second.index["budgets"] = [0.5, 0.22]
    second.add("feature_noise", 0.21, 9, 11.0)
    matched = match_points(*load_sides(first.save(), second.save()))
    assert (matched.only_first, matched.only_second) == (["feature_noise at 25 %"], ["feature_noise at 22 %"])


def test_without_an_index_points_stand_at_what_was_asked_for(tmp_path: Path) -> None:
    results = Written(tmp_path / "antispoof" / "quick")
    results.add("feature_noise", 0.21, 9, 10.0)
    folder = results.save()
    points = match_points(*load_sides(folder, as_csv(folder, tmp_path / "points.csv"))).both
    assert [point.budget for point in points] == [0.21]


def test_results_folder_with_one_comparison_in_both(tmp_path: Path) -> None:
    made(tmp_path / "a").save()
    made(tmp_path / "b").save()
    one, other = load_sides(tmp_path / "a", tmp_path / "b")
    assert (one.path, other.path) == (tmp_path / "a" / "antispoof" / "quick", tmp_path / "b" / "antispoof" / "quick")
    shutil.copytree(one.path, tmp_path / "a" / "antispoof" / "kept")
    moved = json.loads((one.path / "comparison.json").read_text()) | {"preset": "full"}
    (tmp_path / "a" / "antispoof" / "kept" / "comparison.json").write_text(json.dumps(moved))
    assert load_sides(tmp_path / "a", other.path)[0].path == one.path  # the one that B has too


def complaint(first: Path, second: Path) -> str:
    with pytest.raises(BenchError) as error:
        load_sides(first, second)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mistakes_are_named(tmp_path: Path) -> None:
    folder = made(tmp_path / "a").save()
    other = made(tmp_path / "b")
    other.index["task"] = "vad"
    assert "antispoof/quick is of task antispoof" in complaint(folder, other.save())
    other.index |= {"task": "antispoof", "metric": {"name": "eer", "unit": "percent", "direction": "maximize"}}
    assert "eer_percent (maximize)" in complaint(folder, other.save())
    assert "/no/such/folder does not exist; expected a comparison folder" in complaint(folder, Path("/no/such/folder"))
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} has none" in complaint(tmp_path / "a", tmp_path / "empty")
    assert "has no trained models yet" in complaint(folder, Written(tmp_path / "c" / "antispoof" / "quick").save())


def test_both_roots_with_several_comparisons_are_listed(tmp_path: Path) -> None:
    for root in ("a", "b"):
        for preset in ("quick", "full"):
            results = Written(tmp_path / root / "antispoof" / preset)
            results.index["preset"] = preset
            results.save()
    said = complaint(tmp_path / "a", tmp_path / "b")
    assert "found 2" in said and f"{tmp_path / 'a'} has antispoof/full, antispoof/quick" in said


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "cannot be read as a table"),
        (lambda text: text.split("\n")[0] + "\n", "nothing below its header"),
        (lambda text: text.replace("seed", "sead"), "no column seed"),
        (lambda text: text.replace("eval_eer_percent", "eval_wer_percent"), "no column eval_eer_percent"),
        (lambda text: text[: text.rindex("antispoof") + 12], "line 7 has no method"),
        (lambda text: text.replace("antispoof", "antispof"), "did you mean 'antispoof'?"),
        (lambda text: text.replace("antispoof,quick", "antispoof,full", 1), "more than one preset (full, quick)"),
        (lambda text: text.replace(",complete,", ",complete,good", 1), "is not a number"),
        (lambda text: text.replace("True", "perhaps"), "column chosen holds other things"),
        (lambda text: "\x00\x01\n" * 3, "no column task"),
    ],
)
def test_damaged_csv_is_named(damage: "object", message: str, tmp_path: Path) -> None:
    csv = as_csv(made(tmp_path / "a").save(), tmp_path / "points.csv")
    assert callable(damage)
    csv.write_text(damage(csv.read_text()))
    said = complaint(csv, csv)
    assert message in said and str(csv) in said

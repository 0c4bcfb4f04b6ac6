"""`bench compare`: two result sets side by side."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import cli
from bench.difference import print_difference
from bench.difference.contents import contents
from bench.difference.costs import changed_costs
from bench.difference.matched import Point, match_points
from bench.difference.origin import origins_differing
from bench.difference.repeated import repeated_models
from bench.difference.scores import Verdict, scored_points, seed_difference, verdicts
from bench.difference.shown import Line, render_markdown
from bench.difference.sides import load_sides
from bench.errors import BenchError
from bench.plugins.task import Metric
from bench.results.points import load_points
from tests.written import Written

EER = Metric("eer", "percent", "minimize")
METHODS = {"feature_noise": "in_training", "magnitude_pruning": "post_hoc", "stochastic_gates": "in_training"}


def made(folder: Path, seeds: int = 2, *, first_key: int = 1, gain: float = 0.0, rng: int = 0) -> Written:
    """Three methods at a quarter of the compute; feature noise is better by ``gain`` than it would be."""
    draw = np.random.default_rng(rng)
    results = Written(folder / "antispoof" / "quick", first_key)
    for method, stage in METHODS.items():
        for seed in range(seeds):
            score = 20 + 3 * seed + draw.normal() - (gain if method == "feature_noise" else 0)
            results.add(method, 0.25, score - 1, score, seed=seed, stage=stage)
    return results


def found(first: Path, second: Path) -> dict[str, Verdict]:
    one, other = load_sides(first, second)
    points = match_points(one, other).both
    return {v.scored.point.method: v for v in verdicts(scored_points(points, one.metric), one.metric)}


def said(first: Path, second: Path) -> str:
    return re.sub(r"\\", "", render_markdown(contents(*load_sides(first, second))))


def closing(first: Path, second: Path) -> str:
    line = contents(*load_sides(first, second))[-1].content[0]
    assert isinstance(line, Line)
    return line.text


def rescored(folder: Path, key: int, score: float) -> None:
    (folder / "trials" / f"{key:016x}" / "eval.json").write_text(json.dumps({"eer_percent": score}))


def as_csv(folder: Path, path: Path) -> Path:
    load_points(folder).table.to_csv(path, index=False)
    return path


def test_identical_results_are_the_same(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    text = said(first, second)
    assert "Made alike." in text and "6 with the same key agree to the bit" in text
    assert {v.finding for v in found(first, second).values()} == {"same score"}
    assert "No cost differs" in text
    assert closing(first, second) == "No: all 3 points with the same scores and costs."


def test_one_seed_that_changed_under_the_same_key_could_not_be_reproduced(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    rescored(second, 2, 25.5)
    repeated = repeated_models(*load_sides(first, second))
    assert [(one.method, one.seed, list(one.columns)) for one in repeated.disagreeing] == [
        ("feature_noise", 1, ["eval_eer_percent"])
    ]
    assert repeated.agreeing.total() == 5
    assert "1 of 6 models with the same key differ" in said(first, second)
    assert closing(first, second).startswith("Yes: 1 model could not be reproduced; 1 of 3 points with too few seeds")


def test_times_and_memory_are_no_failure_to_reproduce(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    for record in second.glob("trials/*/trial.json"):
        changed = json.loads(record.read_text()) | {"cpu_s": 99.0, "peak_memory_mb": 1.0}
        record.write_text(json.dumps(changed))
    assert not repeated_models(*load_sides(first, second)).disagreeing


def test_clear_difference_is_found_with_eight_seeds_and_only_there(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 8).save()
    second = made(tmp_path / "b", 8, first_key=100, gain=6, rng=2).save()
    of = found(first, second)
    assert of["feature_noise"].finding == "better" and of["feature_noise"].paired
    assert of["feature_noise"].p == pytest.approx(3 * 2 / 2**8)  # all 8 signs agree; the smallest of three
    assert of["feature_noise"].gain == pytest.approx(6, abs=1.5)
    assert {of[name].finding for name in ("magnitude_pruning", "stochastic_gates")} == {"within noise"}
    assert found(second, first)["feature_noise"].finding == "worse"
    assert "Keys only in A: 24" in said(first, second)
    assert "1 of 3 points scores differently beyond noise (feature_noise at 25 % better by" in closing(first, second)


def test_points_that_are_the_same_to_the_bit_do_not_count_as_comparisons(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a", 8).save(), made(tmp_path / "b", 8).save()
    for key in range(1, 9):  # of feature noise alone
        rescored(second, key, 50.0 + key)
    verdict = found(first, second)["feature_noise"]
    assert verdict.finding == "worse" and verdict.p == pytest.approx(2 / 2**8)


def test_standard_error_is_of_the_difference_by_seed(tmp_path: Path) -> None:
    first, second = Written(tmp_path / "a" / "x" / "quick"), Written(tmp_path / "b" / "x" / "quick", 100)
    for seed, (one, other) in enumerate([(10, 12), (20, 21), (30, 36)]):
        first.add("dense", None, 1, one, seed=seed)
        second.add("dense", None, 1, other, seed=seed)
    verdict = found(first.save(), second.save())["dense"]
    assert verdict.gain == pytest.approx(-3)
    assert verdict.error == pytest.approx(np.std([2, 1, 6], ddof=1) / 3**0.5)


def test_one_seed_shows_a_large_difference_without_claiming_it(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 1).save()
    second = made(tmp_path / "b", 1, first_key=100, gain=-20, rng=1).save()
    verdict = found(first, second)["feature_noise"]
    assert verdict.finding == "too few seeds to tell" and verdict.error is None and not verdict.large
    assert verdict.gain == pytest.approx(-20, abs=3)
    assert closing(first, second).startswith("The seeds cannot tell: 3 of 3 points with too few seeds")
    assert "the largest difference: feature_noise at 25 % worse by" in closing(first, second)


def test_difference_above_that_of_any_two_seeds_is_called_large_and_nothing_more(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 3).save()
    second = made(tmp_path / "b", 3, first_key=100, gain=-20, rng=1).save()
    of = found(first, second)
    assert of["feature_noise"].large and not of["magnitude_pruning"].large
    assert of["feature_noise"].p is None
    assert "too few seeds to tell, but large" in said(first, second)
    assert "needs 7 paired seeds, or 5 + 5" in said(first, second)  # 2 / 2^7 < .05 / 3


def test_five_seeds_are_dealt_anew_as_five_pairs_cannot_tell(tmp_path: Path) -> None:
    first = made(tmp_path / "a", 5).save()
    second = made(tmp_path / "b", 5, first_key=100, gain=30, rng=1).save()
    verdict = found(first, second)["feature_noise"]
    assert not verdict.paired and verdict.finding == "better"
    assert verdict.p == pytest.approx(3 * 2 / 252)  # of 10 over 5 deals


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
    other.index["plan"]["dense_steps"] = 9
    other.index["setting"]["data"] = "eeee"
    other.index["provenance"]["packages"]["torch"] = "2.12.0"
    second = other.save()
    differing = origins_differing(*load_sides(first, second))
    assert ("packages: torch", "2.11.0", "2.12.0") in differing and ("plan: dense_steps", "525", "9") in differing
    assert "because these differ: preset, plan: dense_steps, data." in said(first, second)


def test_date_and_command_make_no_difference(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b")
    other.index["provenance"] |= {"date": "2026-01-01", "command": "bench run again"}
    assert not origins_differing(*load_sides(first, other.save()))


def test_csv_agrees_with_the_folder_that_it_was_written_from(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", 20).save()
    csv = as_csv(folder, tmp_path / "points.csv")
    assert repeated_models(*load_sides(folder, csv)).agreeing.total() == 60
    text = said(csv, folder)
    assert "A is a points.csv, which does not say how it was made." in text and "Made alike" not in text
    assert closing(csv, folder).startswith("No: all 3 points")


def test_csv_of_another_time_with_more_or_fewer_columns(tmp_path: Path) -> None:
    folder = made(tmp_path / "a").save()
    table = load_points(folder).table
    table.assign(energy_joule=range(6)).drop(columns=["bops", "latency_ratio", "key"]).to_csv(tmp_path / "p.csv")
    text = said(folder, tmp_path / "p.csv")
    assert "Keys are not known on both sides." in text and "No: all 3 points" in text


def test_dev_stands_in_where_eval_is_missing(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a").save(), made(tmp_path / "b").save()
    (second / "trials" / f"{1:016x}" / "eval.json").unlink()
    of = found(first, second)
    assert of["feature_noise"].scored.split == "dev" and of["stochastic_gates"].scored.split == "eval"
    assert "on dev: same score" in said(first, second)


def test_failed_seed_counts_as_worst_and_is_listed(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a", 8).save(), Written(tmp_path / "b" / "antispoof" / "quick", 100)
    for seed in range(8):
        other.add("feature_noise", 0.25, 9, None, seed=seed, status="failed", macs_ratio=None, latency=False)
    second = other.save()
    verdict = found(first, second)["feature_noise"]
    assert verdict.finding == "worse" and verdict.gain is None
    text = said(first, second)
    assert "B failed: feature_noise at 25 %, seeds 0, 1, 2, 3, 4, 5, 6, 7" in text
    assert "Only in A: magnitude_pruning at 25 %, stochastic_gates at 25 %." in text
    assert "2 points only on one side" in closing(first, second)


def test_a_point_stands_for_the_budget_it_was_chosen_for(tmp_path: Path) -> None:
    first, second = Written(tmp_path / "a" / "x" / "quick"), Written(tmp_path / "b" / "x" / "quick", 100)
    first.add("feature_noise", 0.25, 9, 10.0)
    second.add("feature_noise", 0.21, 9, 11.0)  # the search asked for less, and chose it for the same quarter
    points = match_points(*load_sides(first.save(), second.save())).both
    assert [point.budget for point in points] == [0.25] and points[0].other_settings


@pytest.mark.parametrize(
    ("spread", "ratio", "changed"), [(None, 1.02, False), (None, 1.04, True), (0.03, 1.05, False), (0.03, 1.07, True)]
)
def test_latency_changes_beyond_its_spread(spread: float | None, ratio: float, changed: bool, tmp_path: Path) -> None:
    rows = [{"latency_ratio": value, "latency_spread": spread} for value in (0.5, 0.5 * ratio)]
    changes = changed_costs([Point("dense", None, {0: rows[0]}, {0: rows[1]}, False)])
    assert [round(change.share, 6) for change in changes] == ([pytest.approx(ratio - 1)] if changed else [])


def test_counted_costs_change_by_any_amount(tmp_path: Path) -> None:
    first, other = made(tmp_path / "a").save(), made(tmp_path / "b", first_key=100)
    other.add("feature_noise", 0.25, 9, 20.0, seed=0, size_bytes=315_268)
    text = said(first, other.save())
    assert "| feature_noise | 25 % | file size | 315 kB | 315 kB | +0.0 % | counted |" in text


def test_scores_where_large_is_good(tmp_path: Path) -> None:
    folders = []
    for name, score in (("a", 60.0), ("b", 70.0)):
        results = Written(tmp_path / name / "x" / "quick", ord(name) * 100)
        results.index["metric"] = {"name": "accuracy", "unit": "percent", "direction": "maximize"}
        for seed in range(8):
            files = results.add("dense", None, 1, score, seed=seed)
            (files / "eval.json").write_text(json.dumps({"accuracy_percent": score + seed}))
        folders.append(results.save())
    verdict = found(*folders)["dense"]
    assert verdict.finding == "better" and verdict.gain == pytest.approx(10)


@pytest.mark.parametrize(("seeds", "paired"), [(8, True), (5, False)])
@pytest.mark.parametrize("of_seed", [0.0, 0.9])
def test_equal_distributions_are_rarely_called_different(seeds: int, paired: bool, of_seed: float) -> None:
    """The share of tables of three points with any false alarm: below 5 %, which 300 tables know to 1.3 %."""
    rng = np.random.default_rng(5)
    tables = [judged(rng, seeds, of_seed) for _ in range(300)]
    assert all(v.paired is paired and v.p is not None for table in tables for v in table)
    assert sum(any(v.finding in ("better", "worse") for v in table) for table in tables) / 300 <= 0.06


def test_clear_effect_is_nearly_always_found() -> None:
    rng = np.random.default_rng(6)
    tables = [judged(rng, 8, 0.5, gain=3.0) for _ in range(50)]
    assert sum(table[0].finding == "better" for table in tables) >= 45
    assert sum(v.finding != "within noise" for table in tables for v in table[1:]) <= 5


def judged(rng: np.random.Generator, seeds: int, of_seed: float, gain: float = 0.0) -> list[Verdict]:
    """Three points, whose scores owe this share of their variance to the seed; B is better at the first of them."""
    points = []
    for number in range(3):
        start = rng.normal(size=seeds) * of_seed**0.5
        first, second = (start + rng.normal(size=seeds) * (1 - of_seed) ** 0.5 for _ in range(2))
        rows = [
            {seed: {"status": "complete", "eval_eer_percent": 20 + value} for seed, value in enumerate(side)}
            for side in (first, second - gain * (number == 0))
        ]
        points.append(Point(f"method_{number}", None, rows[0], rows[1], same_start=True))
    return verdicts(scored_points(points, EER), EER)


def test_seed_difference_is_none_without_a_second_seed() -> None:
    row = {"status": "complete", "eval_eer_percent": 1.0}
    assert seed_difference(scored_points([Point("dense", None, {0: row}, {0: row}, True)], EER)) is None


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
        (lambda text: text.replace(",complete,", ",complete,good", 1), "is no number"),
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
    assert max(map(len, printed.splitlines())) <= 120
    written = output.read_text()
    assert written.startswith("# antispoof/quick against") and "| better, p = 0.023 |" in written
    with pytest.raises(BenchError, match=r"cannot write .*--output"):
        print_difference(first, second, tmp_path / "nowhere" / "x.md")


def test_markdown_table_keeps_its_columns(tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    folder.add("chain|of|bars", 0.25, 9, 10.0)
    lines = render_markdown(contents(*load_sides(folder.save(), folder.folder))).splitlines()
    table = [line.replace(r"\|", "") for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and any(r"chain\|of\|bars" in line for line in lines)


def test_numbers_are_read_from_csv_to_the_last_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(5000) * 100
    pd.DataFrame({"x": values}).to_csv(tmp_path / "x.csv", index=False)
    assert (pd.read_csv(tmp_path / "x.csv")["x"].to_numpy() == values).all()

"""The gap between the camps, split by the controls: the parts are what they say, and add up."""

import json
import shutil

import pytest

from bench.report import write_report
from bench.report.answer import answer
from bench.report.attribution import GAINED, PARTS
from tests.report.cases import read
from tests.written import Written

GAPS = (0.3, -0.2, 0.1)  # between seeds
#: of the best in-training and post-hoc methods, of random channels cut early and late, of uniform and of given widths
SCORES = {"a": 9.0, "p": 12.0, "early": 11.0, "late": 14.0, "uniform": 13.0, "given": 12.5}


def write(
    written: Written, *left_out: str, budgets: tuple[float, ...] = (0.5,), gaps: tuple[float, ...] = GAPS
) -> Written:
    written.index["budgets"] = [*budgets]
    after, control = {"stage": "post_hoc"}, {"control": True}
    methods = {
        "a": ("feature_noise", {}),
        "p": ("magnitude_pruning", {**after, "dense_share": 0.75}),
        "early": ("random_pruning:dense_share=0.25", {**after, **control, "dense_share": 0.25}),
        "late": ("random_pruning", {**after, **control, "dense_share": 0.75}),
        "uniform": ("uniform_width", control),
        "given": ("given_widths", control),
    }
    for number, budget in enumerate(budgets):
        for name, (method, more) in methods.items():
            for seed, gap in enumerate(gaps) if name not in left_out else ():
                score = SCORES[name] + (number + 1) * gap * (name in ("a", "early"))
                written.add(method, budget, score, score, seed=seed, **more)  # type: ignore[arg-type]
    for trial in written.index["methods"].get("feature_noise", {"trials": []})["trials"]:
        trial["settings"]["search_share"] = 0.25
    return written


def test_every_part_is_a_difference_of_two_controls(written: Written) -> None:
    (row,) = read(write(written).save()).attribution.to_dict("records")
    assert (row["in_training"], row["post_hoc"], row["missing"]) == ("feature_noise", "magnitude_pruning", "")
    parts = {name: row[name].value for name in ("gap", *PARTS)}
    mean = sum(GAPS) / 3
    expected = {"gap": 3 - mean, "time": 3 - mean, "channels": -2.0, "widths": 0.5, "left": 1.5}
    assert parts == pytest.approx(expected)
    assert row[GAINED].value == pytest.approx(2.0)


def test_the_parts_add_up_to_the_gap(written: Written) -> None:
    table = read(write(written, budgets=(0.5, 0.25)).save()).attribution
    assert len(table) == 3 and table["budget"].isna().sum() == 1  # two budgets, and their mean
    for row in table.to_dict("records"):
        assert sum(row[name].value for name in PARTS) == pytest.approx(row["gap"].value)
        assert row["gap"].low < row["gap"].value < row["gap"].high


def test_the_answer_names_the_parts_that_are_clear_of_zero(written: Written) -> None:
    said = answer(read(write(written, gaps=(0, 6, 0, 6, 0, 6)).save()))  # the time of the cut explains 3 or -3
    assert "clear of zero: which channels post-hoc keeps, -2.0; the widths" in said
    assert "when the cut is made" not in said


def test_few_seeds_are_clear_of_nothing(written: Written) -> None:
    assert "clear of zero" not in answer(read(write(written).save()))


@pytest.mark.parametrize(
    ("left_out", "named"),
    [
        ("early", "random_pruning:dense_share=0.25"),
        ("late", "random_pruning:dense_share=0.75"),
        ("uniform", "uniform_width"),
        ("given", "given_widths"),
        ("p", "a camp with a finished model"),
    ],
)
def test_what_is_missing_is_named(written: Written, left_out: str, named: str) -> None:
    (row,) = read(write(written, left_out).save()).attribution.to_dict("records")
    assert row["missing"] == named


def test_widths_of_the_users_own_are_not_those_that_were_found(written: Written) -> None:
    written.add("given_widths:widths=stem=4", 0.5, 1.0, 1.0, control=True)
    (row,) = read(write(written, "given").save()).attribution.to_dict("records")
    assert row["missing"] == "given_widths"


def test_a_method_that_says_nothing_of_its_cut_cannot_be_compared_by_it(written: Written) -> None:
    write(written)
    for trial in written.index["methods"]["feature_noise"]["trials"]:
        del trial["settings"]["search_share"]
    (row,) = read(written.save()).attribution.to_dict("records")
    assert row["missing"] == "a share of the steps after which the in-training method cuts"
    assert json.dumps(written.index)  # and the report is written all the same


def test_camps_that_cut_at_the_same_time_have_one_control_for_both(written: Written) -> None:
    write(written, "early")
    for trial in written.index["methods"]["feature_noise"]["trials"]:
        trial["settings"]["search_share"] = 0.75
    (row,) = read(written.save()).attribution.to_dict("records")
    parts = {name: row[name].value for name in ("gap", *PARTS)}
    mean = sum(GAPS) / 3
    assert parts == pytest.approx({"gap": 3 - mean, "time": 0, "channels": -2.0, "widths": 0.5, "left": 4.5 - mean})


def test_the_figure_is_a_file_of_its_own_as_long_as_there_is_one(written: Written) -> None:
    write_report(write(written).save())
    assert (written.folder / "attribution.svg").read_text().startswith("<svg")
    other = Written(written.folder)
    shutil.rmtree(written.folder / "trials")
    write_report(write(other, "given").save())
    assert not (written.folder / "attribution.svg").exists()

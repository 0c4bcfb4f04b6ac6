"""Budget classes, and the table of the choices."""

from pathlib import Path

from bench.results.points import load_points
from bench.results.selection import budget_class, chosen_points
from tests.report.cases import write_full
from tests.written import Written


def test_what_asks_for_more_than_any_budget_stands_as_it_is() -> None:
    assert budget_class(1.5, [0.5]) == 1.5


def test_points_are_averaged_over_seeds(tmp_path: Path) -> None:
    table = chosen_points(load_points(write_full(Written(tmp_path / "antispoof" / "quick"))))
    table = table.set_index(["method", "budget"])
    row = table.loc[("feature_noise", 0.5)]
    assert (row["seeds"], row["scored"], row["eval"]) == (2, 2, 13.5)
    assert (row["eval_min"], row["eval_max"], row["valid"], row["kind"]) == (13.0, 14.0, True, "in-training")
    assert table.loc[("broken", 0.5)]["failed"] == 1 and not table.loc[("broken", 0.5)]["valid"]
    assert table.loc[("_late", 0.25)]["missed"] == 1 and table.loc[("zeros", 0.25)]["unstructured"]

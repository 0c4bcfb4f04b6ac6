"""Which point is picked: limits on the score hold on dev, costs are those of the model, eval decides nothing."""

import json
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.plugins.task import Metric
from bench.report.data import report_data
from bench.results.points import load_points
from bench.ship.card import eval_estimate
from bench.ship.pick import COSTS, Choice, find, read_limits
from tests.report.cases import with_items
from tests.written import Written

EER = Metric("eer", unit="percent", direction="minimize")
NOTHING: dict[str, str] = {}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Three sizes; the smallest is best on eval and worst on dev; of the middle one's seeds the second is better."""
    written = Written(tmp_path / "results" / "antispoof" / "quick")
    written.add("dense", None, 8.0, 12.0, control=True)
    for seed in (0, 1):
        written.add("feature_noise", 0.5, 10.0 - seed, 11.0, seed=seed, size_bytes=500 + seed)
        written.add("magnitude_pruning", 0.25, 14.0, 5.0, seed=seed, stage="post_hoc", size_bytes=250)
    written.add("broken", 0.25, 1.0, 1.0, status="missed", reason="asked for 0.25, delivered 0.3")
    written.add("unmeasured", 0.5, 13.0, 13.0, latency=False)
    written.save()
    return written


def picked(written: Written, *limits: str) -> Choice:
    return find(written.folder, None, limits, NOTHING)


@pytest.mark.parametrize(
    ("limits", "method"),
    [
        ((), "dense"),
        (("--max-macs", "600"), "feature_noise"),  # the best on dev, not magnitude_pruning, which is on eval
        (("--max-macs-ratio=0.3",), "magnitude_pruning"),
        (("--max-eer", "10"), "feature_noise"),  # the cheapest, where the score alone is limited
        (("--max-eer", "15"), "magnitude_pruning"),
        (("--max-eer-percent", "15", "--max-latency-ms", "2"), "dense"),
        (("--max-size-bytes", "501"), "feature_noise"),
        (("--max-size-bytes", "500.5"), "magnitude_pruning"),  # the model that would be exported has 501
    ],
)
def test_the_best_on_dev_that_keeps_the_limits(written: Written, limits: tuple[str, ...], method: str) -> None:
    choice = picked(written, *limits)
    assert choice.row["method"] == method
    assert "Eval is reported and decided nothing" in choice.why


def test_what_eval_says_changes_nothing(written: Written) -> None:
    before = picked(written, "--max-eer", "12", "--max-macs", "900").key
    for path in written.folder.glob("trials/*/eval.json"):
        path.write_text(json.dumps({"eer_percent": 50.0 if before in str(path) else 0.1}))
    assert picked(written, "--max-eer", "12", "--max-macs", "900").key == before


def test_the_model_is_that_of_the_seed_best_on_dev(written: Written) -> None:
    assert picked(written, "--max-eer", "10").row["seed"] == 1


def test_high_can_be_good(written: Written) -> None:
    written.index["metric"] = {"name": "top_one", "unit": "share", "direction": "maximize"}
    for method, budget, top in (("first", 0.5, 0.9), ("second", 0.25, 0.8)):
        record = written.add(method, budget, 0, None) / "trial.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"dev": {"top_one_share": top}}))
    written.save()
    assert picked(written).row["method"] == "first"
    assert picked(written, "--min-top-one", "0.75").row["method"] == "second"
    with pytest.raises(
        BenchError, match=r"the nearest is first.*mean TOP ONE share on dev is 0\.9 where --min-top-one 0\.95"
    ):
        picked(written, "--min-top-one", "0.95")
    with pytest.raises(BenchError, match="no option '--max-top-one' \\(did you mean '--min-top-one'"):
        picked(written, "--max-top-one", "0.95")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            ("--max-eer", "9.4"),
            r"nearest is feature_noise at ≤ 50 %, seed 1 \(trial \w{16}\): mean EER % on dev is 9\.5 where",
        ),
        (
            ("--max-eer", "9", "--max-macs", "240"),
            r"nearest is feature_noise.*EER % on dev is 9\.5 .*; macs is 500 where",
        ),
        (("--max-latency-ms", "0.01"), r"latency_ms is 0\.1 where --max-latency-ms 0\.01 was asked for$"),
    ],
)
def test_where_nothing_keeps_them_the_nearest_is_named(written: Written, limits: tuple[str, ...], said: str) -> None:
    if limits[:2] == ("--max-eer", "9.4"):
        del written.index["methods"]["dense"]
    elif limits[0] == "--max-eer":
        written.index["methods"] = {"feature_noise": written.index["methods"]["feature_noise"]}
    written.save()
    with pytest.raises(BenchError, match=said):
        picked(written, *limits)


def test_what_was_not_measured_keeps_no_limit(written: Written) -> None:
    written.index["methods"] = {"unmeasured": written.index["methods"]["unmeasured"]}
    written.save()
    with pytest.raises(BenchError, match="latency_ms is not measured where --max-latency-ms 2 was asked for"):
        picked(written, "--max-latency-ms", "2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--max-eer",), r"--max-eer '': expected a number, such as --max-eer 10"),
        (("--max-eer", "ten"), r"--max-eer 'ten': expected a number"),
        (("--max-eer", "nan"), r"--max-eer 'nan': expected a number"),
        (("--max-eer=inf",), r"--max-eer 'inf': expected a number"),
        (("--max-accuracy", "10"), r"no option '--max-accuracy'.*limits are: --max-eer, .*--max-latency-ms"),
        (("--preste", "smoke"), r"no option '--preste'"),
        (("--max-latncy-ms", "2"), r"no option '--max-latncy-ms' \(did you mean '--max-latency-ms'\?\)"),
        (("more",), r"no option 'more'"),
        (("--max-eer", "1", "--max-eer-percent", "2"), r"--max-eer-percent 2: --max-eer 1 limits the same already"),
    ],
)
def test_a_limit_that_is_none_is_named(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        read_limits(arguments, EER)


def test_means_stand_beside_the_figures_of_the_model(written: Written) -> None:
    choice = picked(written, "--max-eer", "10")
    assert choice.point is not None
    assert (choice.row["size_bytes"], choice.point["size_bytes"]) == (501, 500.5)
    assert (choice.row["dev_eer_percent"], choice.point["dev"]) == (9.0, 9.5)


def test_two_specs_may_mean_one_trial(written: Written) -> None:
    methods = written.index["methods"]
    methods["feature_noise:form=sampled"] = methods["feature_noise"]
    written.save()
    choice = picked(written, "--max-macs", "600")
    assert choice.row["method"] == "feature_noise"
    other = find(written.folder, None, (), {"method": "feature_noise:form=sampled"})
    assert (other.key, other.row["method"]) == (choice.key, "feature_noise:form=sampled")


def test_every_cost_that_can_be_limited_is_a_column(written: Written) -> None:
    assert set(COSTS) <= set(load_points(written.folder).table.columns)


def test_a_model_is_named_by_key_or_by_point(written: Written) -> None:
    trials = written.index["methods"]["feature_noise"]["trials"]
    for asked in (
        {"trial": trials[0]["key"]},
        {"method": "feature_noise", "seed": 0},
        {"method": "feature_noise", "budget": 0.5, "seed": 0},
    ):
        choice = find(written.folder, None, (), asked)
        assert (choice.key, choice.why) == (trials[0]["key"], "Named by hand: no limit or score chose it.")
    assert find(written.folder, None, (), {"method": "feature_noise"}).key == trials[1]["key"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"trial": "ffff"}, "no trial with trial ffff in"),
        ({"trial": "0"}, "points have trial 0; say more"),
        ({"method": "feature_nois"}, r"no trial with method feature_nois .*\(did you mean 'feature_noise'\?\)"),
        ({"method": "feature_noise", "budget": 0.3}, "no trial with method feature_noise, budget 0.3"),
        ({"seed": 0}, "5 points have seed 0; say more of --method"),
    ],
)
def test_a_model_that_is_not_there_is_said(written: Written, asked: dict[str, str], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        find(written.folder, None, (), asked)


def test_a_failed_trial_has_no_model(written: Written) -> None:
    files = written.add("failing", 0.5, 1.0, None, latency=False)
    (files / "trial.json").write_text(json.dumps({"status": "failed", "reason": "ValueError: no"}))
    written.save()
    with pytest.raises(BenchError, match=r"of failing has no model: it failed \(ValueError: no\)"):
        find(written.folder, None, (), {"trial": files.name})


def test_limits_and_a_name_exclude_each_other(written: Written) -> None:
    with pytest.raises(BenchError, match="--seed names a model, so --max-eer has nothing to choose"):
        find(written.folder, None, ("--max-eer", "3"), {"seed": 0})
    with pytest.raises(BenchError, match="--max-eer: name the task first"):
        find(written.folder.parent.parent / "--max-eer" / "quick", None, ("10",), NOTHING)


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    written = Written(tmp_path / "antispoof" / "quick")
    written.add("broken", 0.25, 1.0, 1.0, status="missed", reason="too large")
    with pytest.raises(BenchError, match="no finished point in"):
        find(written.save(), None, (), NOTHING)


def test_the_trial_of_an_earlier_comparison_is_found(written: Written) -> None:
    """The latest comparison, of another model of the task, does not hold it."""
    key = written.index["methods"]["dense"]["trials"][0]["key"]
    kept = written.folder / "comparisons"
    kept.mkdir()
    (kept / "first.json").write_text(json.dumps(written.index))
    written.index["methods"] = {"feature_noise": written.index["methods"]["feature_noise"]}
    written.save()
    assert find(written.folder, None, (), {"trial": key}).row["method"] == "dense"


def test_the_interval_is_the_one_of_the_report(written: Written) -> None:
    other = Written(written.folder.parent / "other")
    points = load_points(with_items(other, 3))
    report = report_data(points).best.set_index("method")
    trial = int(8 * 0.5)
    assert eval_estimate(points, "magnitude_pruning", trial) == report.loc["magnitude_pruning", 0.5]

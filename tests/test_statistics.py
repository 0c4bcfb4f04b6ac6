"""What one method attains, with its interval: against closed forms, brute force, and data whose truth is known."""

import doctest
import importlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.metrics import equal_error_rate
from bench.pareto import Reference, hypervolume
from bench.statistics import (
    LARGE_IS_GOOD,
    SMALL_IS_GOOD,
    Items,
    Resampling,
    Steps,
    attained,
    attainment_band,
    best_within,
    covered_on_average,
    drawn_scores,
    least_cost_no_worse,
    sign_of,
)
from bench.statistics.bootstrap import interval, tail
from bench.statistics.items import unit_draws
from bench.statistics.rates import ErrorCounts
from bench.task import ItemScores, Metric

INF = math.inf
FEW = Resampling(resamples=300)
#: numbers with many ties and some failures
SCORES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, INF])


@pytest.mark.parametrize("name", ["attainment", "bootstrap", "family", "permutation", "superiority", "within"])
def test_the_examples_of_the_documentation(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"bench.statistics.{name}")).failed == 0


def test_the_sign_of_a_metric() -> None:
    assert sign_of(Metric("eer", "percent", "minimize")) == 1 == SMALL_IS_GOOD
    assert sign_of(Metric("accuracy", "percent", "maximize")) == -1 == LARGE_IS_GOOD


# attainment


def attained_at(runs: list[tuple[list[float], list[float]]], cost: float, share: float) -> float:
    """By definition: the best score that at least the share of the runs reaches at no more than the cost."""
    best = sorted(min((e for c, e in zip(*run, strict=True) if c <= cost and e < 50), default=INF) for run in runs)
    return best[max(1, math.ceil(share * len(runs) - 1e-9)) - 1]


RUN = st.lists(st.tuples(st.sampled_from([1 / 16, 1 / 8, 1 / 4, 1 / 2]), SCORES), max_size=4).map(
    lambda points: ([c for c, _ in points], [10 * e for _, e in points])
)


@settings(deadline=None, max_examples=200)
@given(st.lists(RUN, min_size=1, max_size=7), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.6, 0.75, 1.0]))
def test_attainment_equals_its_definition(runs: list[tuple[list[float], list[float]]], share: float) -> None:
    steps = attained(runs, Reference(), share)
    for cost in (1 / 32, 1 / 16, 0.1, 1 / 8, 0.2, 1 / 4, 1 / 2, 0.9):
        assert steps.at(cost) == attained_at(runs, cost, share)
    assert list(steps.costs) == sorted(set(steps.costs))
    assert all(later < former for former, later in itertools.pairwise(steps.scores))


def test_attainment_of_a_metric_where_large_is_good() -> None:
    runs = [([0.5, 0.25], [90.0, 80.0]), ([0.5, 0.25], [95.0, 70.0]), ([0.5], [85.0])]
    steps = attained(runs, Reference(best=100.0, worst=50.0))
    assert steps == Steps((0.25, 0.5), (70.0, 90.0), -INF)
    assert steps.at(0.1) == -INF and steps.at(0.25) == 70 and steps.at(1.0) == 90


def test_attainment_is_cut_at_the_ends_of_the_box() -> None:
    assert attained([([1 / 64], [10.0])], Reference()) == Steps((1 / 32,), (10.0,))
    assert attained([([0.5], [-3.0])], Reference()) == Steps((0.5,), (0.0,))
    assert attained([([1.0, 0.5, 0.5], [1.0, 50.0, INF])], Reference()) == Steps((), ())


def test_the_band_is_of_quartiles_where_there_are_seeds_for_it() -> None:
    runs = [([0.5], [float(score)]) for score in (1, 2, 3, 4, 5, 6, 7, 8)]
    band = attainment_band(runs, Reference())
    assert (band.best.scores, band.median.scores, band.worst.scores) == ((2.0,), (4.0,), (6.0,))
    assert band.shares == (0.25, 0.75) and band.n == 8
    few = attainment_band(runs[:3], Reference())
    assert (few.best.scores, few.median.scores, few.worst.scores) == ((1.0,), (2.0,), (3.0,))
    assert few.shares == (0.0, 1.0)
    one = attainment_band(runs[:1], Reference())
    assert one.best == one.median == one.worst


def test_a_seed_that_attained_nothing_still_counts() -> None:
    runs = [([0.5], [10.0]), ([], []), ([0.5], [INF])]
    assert attained(runs, Reference(), 0.0).scores == (10.0,)
    assert attained(runs, Reference(), 0.5) == Steps((), ())
    assert attainment_band([([], [])], Reference()).median == Steps((), ())


def test_what_attainment_refuses() -> None:
    for runs, share in (([], 0.5), ([([0.5], [1.0])], 1.5), ([([0.5], [1.0, 2.0])], 0.5)):
        with pytest.raises(ValueError, match=r"expected at least|same shape"):
            attained(runs, Reference(), share)


# intervals


def test_fewer_seeds_cut_less() -> None:
    assert tail(10**6, 0.95) == pytest.approx(0.025, abs=1e-4)
    assert tail(2, 0.95) < tail(3, 0.95) < tail(5, 0.95) < tail(20, 0.95) < 0.025
    # by hand for ten seeds: t with nine degrees of freedom is 2.262, times the root of 10/9 is 2.385
    assert tail(10, 0.95) == pytest.approx(stats.norm.cdf(-2.385), abs=1e-4)


def test_an_interval_of_three_seeds_is_their_range() -> None:
    found = best_within([[0.5]] * 3, [[1.0], [2.0], [6.0]], 0.5, sign=1)
    assert (found.value, found.low, found.high, found.over, found.n) == (3.0, 1.0, 6.0, "seeds", 3)


def test_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(0)
    hits = {"percentile": 0, "bca": 0}
    for trial, method in itertools.product(range(200), hits):
        scores = random.normal(size=(10, 1))
        found = best_within(np.ones((10, 1)), scores, 1.0, sign=1, resampling=Resampling(300, 0.9, method, trial))  # type: ignore[arg-type]
        hits[method] += found.low <= 0 <= found.high  # type: ignore[operator]
    # 180 are expected, with a standard deviation of 4.2; bca does not make up for the ten seeds
    assert 163 <= hits["percentile"] <= 197 and 150 <= hits["bca"] <= 193


def test_bca_is_what_scipy_gives() -> None:
    scores = np.random.default_rng(3).exponential(size=12)
    found = best_within(np.ones((12, 1)), scores[:, None], 1.0, sign=1, resampling=Resampling(999, method="bca"))
    theirs = stats.bootstrap((scores,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval))


def test_bca_gives_way_where_it_does_not_exist() -> None:
    bca = Resampling(300, method="bca")
    same = best_within([[0.5]] * 4, [[2.0]] * 4, 0.5, sign=1, resampling=bca)
    assert (same.low, same.high) == (2.0, 2.0)
    failed = best_within([[0.5]] * 4, [[2.0]] * 3 + [[INF]], 0.5, sign=1, resampling=bca)
    assert (failed.low, failed.high) == (2.0, INF)


def test_the_same_seed_gives_the_same_interval() -> None:
    costs, scores = np.ones((6, 2)), np.random.default_rng(1).normal(size=(6, 2))
    ends = [best_within(costs, scores, 1.0, sign=1, resampling=Resampling(200, seed=seed)) for seed in (7, 7, 8)]
    assert ends[0] == ends[1] and ends[0] != ends[2]


def test_a_statistic_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        interval(lambda drawn: np.full(drawn.shape[:-1], np.nan), [np.arange(3)], FEW)


# the best within a budget


def test_best_within_takes_means_over_seeds() -> None:
    costs = [[0.5, 0.25, 0.2], [0.5, 0.35, 0.2]]
    scores = [[5.0, 6.0, 9.0], [5.0, 6.0, 11.0]]
    found = [best_within(costs, scores, budget, sign=1, resampling=FEW).value for budget in (1, 0.3, 0.29, 0.2, 0.1)]
    assert found == [5.0, 6.0, 10.0, 10.0, INF]


def test_dev_chooses_and_eval_is_read() -> None:
    costs, dev, scores = [[0.5, 0.5]] * 3, [[3.0, 2.0]] * 3, [[5.0, 6.0]] * 3
    assert best_within(costs, scores, 0.5, sign=1, dev=dev, resampling=FEW).value == 6.0
    assert best_within(costs, scores, 0.5, sign=-1, dev=dev, resampling=FEW).value == 5.0
    assert best_within(costs, scores, 0.5, sign=1, resampling=FEW).value == 5.0


def test_dev_never_chooses_a_point_that_failed_on_eval() -> None:
    found = best_within([[0.5, 0.5]] * 2, [[5.0, INF]] * 2, 0.5, sign=1, dev=[[3.0, 2.0]] * 2, resampling=FEW)
    assert (found.value, found.low, found.high) == (5.0, 5.0, 5.0)


@pytest.mark.parametrize("sign", [SMALL_IS_GOOD, LARGE_IS_GOOD])
def test_a_point_with_a_failed_seed_does_not_count(sign: int) -> None:
    costs = [[0.5, 0.4], [0.5, np.nan]]
    scores = [[sign * 7.0, sign * 5.0], [sign * 7.0, sign * INF]]
    found = best_within(costs, scores, 0.5, sign=sign, resampling=FEW)  # type: ignore[arg-type]
    assert found.value == sign * 7.0
    assert {found.low, found.high} == {sign * 5.0, sign * 7.0}  # a resample may miss the failed seed


def test_all_failed() -> None:
    found = best_within([[np.nan]] * 3, [[INF]] * 3, 0.5, sign=1, resampling=FEW)
    assert (found.value, found.low, found.high) == (INF, INF, INF)
    found = best_within([[np.nan]] * 3, [[-INF]] * 3, 0.5, sign=-1, resampling=FEW)
    assert (found.value, found.low, found.high) == (-INF, -INF, -INF)
    cost = least_cost_no_worse([[np.nan]] * 3, [[INF]] * 3, 5.0, sign=1, resampling=FEW)
    assert (cost.value, cost.low, cost.high) == (INF, INF, INF)


def test_one_seed_has_no_interval_over_seeds() -> None:
    found = best_within([[0.5, 0.25]], [[1.0, 2.0]], 1.0, sign=1)
    assert (found.value, found.low, found.high, found.over, found.n) == (1.0, None, None, "nothing", 1)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 4).flatmap(
        lambda points: st.lists(st.lists(SCORES, min_size=points, max_size=points), min_size=2, max_size=5)
    )
)
def test_intervals_are_in_order_and_follow_the_sign(scores: list[list[float]]) -> None:
    errors = np.array(scores)
    costs = np.random.default_rng(errors.shape[1]).uniform(0.1, 1, errors.shape)
    found = best_within(costs, errors, 0.6, sign=1, resampling=FEW)
    mirrored = best_within(costs, -errors, 0.6, sign=-1, resampling=FEW)
    assert found.low is not None and found.high is not None and found.low <= found.high
    assert (mirrored.value, mirrored.low, mirrored.high) == (-found.value, -found.high, -found.low)
    richer = best_within(costs, errors, 1.0, sign=1, resampling=FEW)
    assert richer.value <= found.value


def test_what_best_within_refuses() -> None:
    for costs, scores, dev, message in (
        ([0.5], [1.0], None, "shape"),
        (np.ones((2, 0)), np.ones((2, 0)), None, "shape"),
        ([[0.5]], [[np.nan]], None, "NaN"),
        ([[0.5]], [[-INF]], None, "infinitely good"),
        ([[np.nan]], [[1.0]], None, "no finite cost"),
        ([[0.5, 0.5]], [[1.0, 1.0]], np.ones((1, 1)), "shape"),
    ):
        with pytest.raises(ValueError, match=message):
            best_within(costs, scores, 1.0, sign=1, dev=dev)


# items


def items_of(values: np.ndarray, resamples: int = 300) -> Items:
    """Draws of items whose mean is the score; values of shape (seeds, points, items)."""
    models = [ItemScores(own, None, np.arange(len(own))) for own in values.reshape(-1, values.shape[-1])]
    return Items(drawn_scores(models, resamples).reshape(resamples, *values.shape[:2]), values.shape[-1])


def test_items_widen_what_seeds_alone_would_hide() -> None:
    random = np.random.default_rng(0)
    hard = random.normal(size=(1, 1, 50))  # which items are hard is common to all seeds
    values = hard + 0.01 * random.normal(size=(8, 1, 50))
    costs, scores = np.ones((8, 1)), values.mean(axis=-1)
    seeds = best_within(costs, scores, 1.0, sign=1, resampling=FEW)
    both = best_within(costs, scores, 1.0, sign=1, items=items_of(values), resampling=FEW)
    assert both.value == seeds.value and (both.over, both.n, both.items) == ("seeds and items", 8, 50)
    assert both.high - both.low > 20 * (seeds.high - seeds.low)  # type: ignore[operator]
    expected = stats.norm.ppf(1 - tail(8, 0.95)) * hard.std() / math.sqrt(50)
    assert both.high - both.value == pytest.approx(expected, rel=0.35)  # type: ignore[operator]


def test_one_seed_with_items_has_an_interval_over_items() -> None:
    values = np.random.default_rng(0).normal(size=(1, 2, 40))
    found = best_within([[0.5, 0.5]], values.mean(axis=-1), 1.0, sign=-1, items=items_of(values))
    assert found.over == "items" and found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    one = best_within([[0.5]], values[:, :1].mean(-1), 1.0, sign=1, items=items_of(values[:, :1], 4000))
    spread = stats.norm.ppf(1 - tail(40, 0.95)) * values[0, 0].std() / math.sqrt(40)
    assert one.high - one.low == pytest.approx(2 * spread, rel=0.1)  # type: ignore[operator]


def test_intervals_over_seeds_and_items_cover_the_truth() -> None:
    random, hits = np.random.default_rng(0), 0
    for _ in range(200):
        values = random.normal(size=(6, 1, 1)) + random.normal(size=(1, 1, 30)) + random.normal(size=(6, 1, 30))
        found = best_within(
            np.ones((6, 1)),
            *(values.mean(axis=-1), 1.0),
            sign=1,
            items=items_of(values, 200),
            resampling=Resampling(200, 0.9),
        )
        hits += found.low <= 0 <= found.high  # type: ignore[operator]
    assert hits >= 170  # 180 are expected; crossing seeds and items errs on the wide side


def test_all_scores_share_the_draws() -> None:
    values = np.random.default_rng(0).normal(size=(1, 1, 25))
    shifted = items_of(np.concatenate([values, values + 3], axis=1))
    assert np.allclose(shifted.drawn[..., 1] - shifted.drawn[..., 0], 3)
    assert np.array_equal(items_of(values).drawn, items_of(values).drawn)


def test_failed_runs_stay_failed_whatever_items_are_drawn() -> None:
    values = np.random.default_rng(0).normal(size=(2, 1, 20))
    scores = np.array([[values[0].mean()], [INF]])
    found = best_within([[1.0]] * 2, scores, 1.0, sign=1, items=items_of(values), resampling=FEW)
    assert found.value == INF and found.high == INF and found.low is not None and found.low < 1


def test_what_items_refuse() -> None:
    with pytest.raises(ValueError, match="expected \\(resamples, seeds, points\\)"):
        Items(np.ones((2, 3)), 5)
    with pytest.raises(ValueError, match="at least two items"):
        Items(np.ones((9, 1, 1)), 1)
    items = items_of(np.ones((2, 1, 5)))
    with pytest.raises(ValueError, match="belong to runs of shape"):
        best_within(np.ones((3, 1)), np.ones((3, 1)), 1.0, sign=1, items=items)
    with pytest.raises(ValueError, match="NaN for a finished run"):
        best_within([[1.0]], [[1.0]], 1.0, sign=1, items=Items(np.full((9, 1, 1), np.nan), 5))
    one, other = (ItemScores(np.zeros(3), None, np.array(units)) for units in ([0, 1, 2], [0, 1, 1]))
    with pytest.raises(ValueError, match="scored on the same items"):
        drawn_scores([one, other], 10)


# equal error rates of draws


def by_hand(items: ItemScores, resamples: int) -> np.ndarray:
    """The rate of each draw, scoring the drawn items one by one."""
    units = np.unique(items.units, return_inverse=True)[1]
    found = []
    for weights in unit_draws(items, resamples, 0):
        for times in weights.T.astype(int):
            drawn = np.repeat(np.arange(len(units)), times[units])
            found.append(equal_error_rate(items.scores[drawn], np.asarray(items.labels)[drawn]))
    return np.array(found)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 12)), min_size=2, max_size=60).filter(
        lambda rows: len({label for _, label, _ in rows}) == 2
    )
)
def test_rates_of_draws_equal_those_of_the_drawn_items(rows: list[tuple[int, bool, int]]) -> None:
    """With ties, with units of one class and of both, of any size."""
    scores, labels, units = (np.array(column) for column in zip(*rows, strict=True))
    items = ItemScores(scores.astype(float), labels, units)
    assert np.allclose(drawn_scores([items], 20)[:, 0], by_hand(items, 20), atol=1e-9)


def many_frames(units: int = 60, frames: int = 300) -> ItemScores:
    """Frames of recordings, some harder than others."""
    random = np.random.default_rng(0)
    labels = random.random(units * frames) < 0.5
    of = np.arange(units).repeat(frames)
    return ItemScores(random.normal(size=len(of)) + 2 * labels + 0.7 * random.normal(size=units)[of], labels, of)


def test_rates_are_exact_on_the_full_sample_and_close_on_draws_of_many_items() -> None:
    items = many_frames()
    counts = ErrorCounts(items)
    assert counts.rescored(np.ones((60, 1), np.float32))[0] == pytest.approx(items.headline, abs=1e-9)
    drawn = drawn_scores([items], 40)[:, 0]
    assert drawn == pytest.approx(by_hand(items, 40), abs=0.05)
    assert drawn.std() > 0.4


def test_what_depends_on_one_another_is_drawn_together() -> None:
    """Recordings differ, so that drawing frames one by one would claim too much."""
    items = many_frames()
    alone = ItemScores(items.scores, items.labels, np.arange(len(items.scores)))
    assert drawn_scores([items], 200).std() > 1.5 * drawn_scores([alone], 200).std()


def test_draws_keep_the_number_of_each_class() -> None:
    items = ItemScores(np.arange(40.0), np.repeat([1, 0], [30, 10]), np.arange(40))
    (weights,) = unit_draws(items, 50, 0)
    assert (weights[:30].sum(axis=0) == 30).all() and (weights[30:].sum(axis=0) == 10).all()
    assert len(np.unique(weights, axis=1).T) > 40


def test_memory_is_bounded_by_drawing_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    items = ItemScores(np.random.default_rng(0).normal(size=100), None, np.arange(100))
    monkeypatch.setattr("bench.statistics.items._DRAWN_AT_ONCE", 700)
    assert [weights.shape for weights in unit_draws(items, 16, 0)] == [(100, 7), (100, 7), (100, 2)]
    assert drawn_scores([items] * 20, 16).shape == (16, 20)


# the hypervolume


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(0.01, 1.5), st.floats(0, 60)), min_size=1, max_size=8))
def test_hypervolume_of_means_is_that_of_moocore(rows: list[tuple[float, float]]) -> None:
    costs, scores = np.array(rows).T
    found = covered_on_average([costs], [scores], Reference())
    assert found.value == pytest.approx(hypervolume(costs, scores, Reference()), abs=1e-9)
    mirrored = covered_on_average([costs], [100 - scores], Reference(best=100.0, worst=50.0))
    assert mirrored.value == pytest.approx(found.value, abs=1e-9)


def test_hypervolume_has_an_interval_and_failures_cover_nothing() -> None:
    costs, scores = [[0.25]] * 3, [[10.0], [20.0], [30.0]]
    found = covered_on_average(costs, scores, Reference())
    # a quarter is two of five halvings from the dense cost: 0.4 of the width
    assert (found.value, found.low, found.high) == pytest.approx((0.4 * 0.6, 0.4 * 0.4, 0.4 * 0.8))
    failed = covered_on_average(costs, [[10.0], [20.0], [INF]], Reference())
    assert (failed.value, failed.low) == (0, 0) and failed.high == pytest.approx(0.32)


# the least compute at no worse a score


def test_least_cost_no_worse_than_a_level() -> None:
    costs, scores = [[1.0, 0.5, 0.25]] * 2, [[5.0, 6.0, 7.0], [5.0, 4.0, 8.0]]
    found = [least_cost_no_worse(costs, scores, level, sign=1, resampling=FEW).value for level in (5.0, 7.5, 4.0)]
    assert found == [0.5, 0.25, INF]
    mirrored = least_cost_no_worse(costs, -np.array(scores), -5.0, sign=-1, resampling=FEW)
    plain = least_cost_no_worse(costs, scores, 5.0, sign=1, resampling=FEW)
    assert mirrored == plain and (plain.low, plain.high) == (0.5, 1.0)


def test_the_dense_model_is_no_worse_than_itself() -> None:
    """The mean of a column of a table and that of the column by itself may differ in the last digit."""
    scores = np.array([5.0, 8.6, 3.4, 6.3, 1.6, 8.8, 7.2, 9.2, 8.9, 2.8])
    table = np.stack([scores, scores + 1], axis=-1)
    assert table.mean(axis=0)[0] > scores[:, None].mean(axis=0)[0]
    assert least_cost_no_worse([[0.5, 0.25]] * 10, table, scores, sign=1, resampling=FEW).value == 0.5


def test_the_dense_model_is_drawn_with_its_seed() -> None:
    scores = np.array([[1.0], [5.0], [9.0]])
    beside = least_cost_no_worse([[0.5]] * 3, scores, scores[:, 0], sign=1, resampling=FEW)
    assert (beside.low, beside.high) == (0.5, 0.5)  # as good with every seed
    fixed = least_cost_no_worse([[0.5]] * 3, scores, 5.0, sign=1, resampling=FEW)
    assert (fixed.value, fixed.low, fixed.high) == (0.5, 0.5, INF)


def test_the_dense_model_is_drawn_with_its_items() -> None:
    values = np.random.default_rng(0).normal(size=(3, 1, 30))
    items, scores = items_of(values), values.mean(axis=-1)
    found = least_cost_no_worse(
        [[0.5]] * 3, scores, scores[:, 0], sign=1, items=items, level_items=items, resampling=FEW
    )
    assert (found.value, found.low, found.high, found.over) == (0.5, 0.5, 0.5, "seeds and items")
    with pytest.raises(ValueError, match="needs its items"):
        least_cost_no_worse([[0.5]] * 3, scores, scores[:, 0], sign=1, items=items)
    with pytest.raises(ValueError, match="other draws"):
        least_cost_no_worse([[0.5]] * 3, scores, scores[:, 0], sign=1, level_items=items)
    with pytest.raises(ValueError, match="the level has shape"):
        least_cost_no_worse([[0.5]] * 3, scores, [1.0, 2.0], sign=1)


def test_a_failed_dense_model_says_nothing() -> None:
    found = least_cost_no_worse([[0.5]] * 2, [[1.0]] * 2, [1.0, INF], sign=1, resampling=FEW)
    assert found.value == 0.5  # whatever finished is better than a failure
    assert least_cost_no_worse([[0.5]] * 2, [[INF]] * 2, INF, sign=1, resampling=FEW).value == INF

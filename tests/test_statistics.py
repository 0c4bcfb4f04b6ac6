"""What one method attains, with its interval: against closed forms, brute force, and data whose truth is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.plugins.task import Metric
from bench.stats.estimates import (
    LARGE_IS_GOOD,
    SMALL_IS_GOOD,
    Resampling,
    best_within,
    interval,
    least_cost_no_worse,
    sign_of,
    tail,
)
from bench.stats.fronts import Reference, Steps, attained, attainment_band, covered_on_average, hypervolume

INF = math.inf
FEW = Resampling(resamples=300)
#: numbers with many ties and some failures
SCORES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, INF])


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


def test_a_failed_dense_model_says_nothing() -> None:
    found = least_cost_no_worse([[0.5]] * 2, [[1.0]] * 2, [1.0, INF], sign=1, resampling=FEW)
    assert found.value == 0.5  # whatever finished is better than a failure
    assert least_cost_no_worse([[0.5]] * 2, [[INF]] * 2, INF, sign=1, resampling=FEW).value == INF

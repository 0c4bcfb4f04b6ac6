"""Fronts: against counting, step by step, and against their definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.check import Probe
from bench.errors import BenchError
from bench.plugins.task import Metric
from bench.stats.fronts import (
    Reference,
    Steps,
    attained,
    attainment_band,
    best_possible_front,
    camp_by_seed,
    hypervolume,
    hypervolume_by_seed,
    hypervolume_of_means,
    nondominated,
    reference_for,
)
from tests.stats.cases import INF, SCORES


def staircase(cost: np.ndarray, error: np.ndarray) -> float:
    """The area between normalised points and (1, 1), step by step from the cheapest point."""
    area, level = 0.0, 1.0
    for x, y in sorted(zip(np.clip(cost, 0, None), np.clip(error, 0, None), strict=True)):
        if x < 1 and y < level:
            area += (1 - x) * (level - y)
            level = y
    return area


@pytest.mark.parametrize("seed", range(20))
def test_hypervolume_equals_the_staircase(seed: int) -> None:
    random = np.random.default_rng(seed)
    costs, scores = 2.0 ** random.uniform(-6, 0.5, 30), random.uniform(0, 60, 30)
    expected = staircase(np.log2(costs * 32) / 5, scores / 50)
    assert hypervolume(costs, scores, Reference()) == pytest.approx(expected, abs=1e-9)


def test_hypervolume_equals_counting_the_cells_of_a_grid() -> None:
    # points on the corners of a 5 x 5 grid: halvings of cost, steps of 10 %
    costs, scores = [1 / 16, 1 / 4, 1 / 2], [40.0, 20.0, 10.0]
    corners = [(5 + np.log2(c), s / 10) for c, s in zip(costs, scores, strict=True)]
    cells = sum(any(x >= c and y >= e for c, e in corners) for x, y in itertools.product(range(5), range(5)))
    assert hypervolume(costs, scores, Reference()) == pytest.approx(cells / 25)


def test_what_does_not_beat_the_reference_point_dominates_nothing() -> None:
    assert hypervolume([], [], Reference()) == 0
    assert hypervolume([1.0, 2.0, 0.5], [1.0, 1.0, 50.0], Reference()) == 0
    assert hypervolume([1 / 64], [0.0], Reference()) == 1  # cheaper than the cheapest counts as the cheapest


def test_a_dominated_point_adds_nothing() -> None:
    assert hypervolume([0.25, 0.5], [10.0, 12.0], Reference()) == hypervolume([0.25], [10.0], Reference())


def test_the_box_follows_the_direction_of_the_metric() -> None:
    right = reference_for(Metric("accuracy", "percent", "maximize"))
    assert right is not None
    assert hypervolume([0.25], [90.0], right) == hypervolume([0.25], [10.0], Reference())
    rare = reference_for(Metric("pr_auc", "percent", "maximize", guess=0.0))
    assert rare is not None
    assert hypervolume([1 / 32], [40.0], rare) == pytest.approx(0.4)  # a guess is near 0 %, not at 50 %
    assert reference_for(Metric("si_sdr", "db", "maximize")) is None


def test_the_box_of_a_squared_error_ends_at_a_constant_answer() -> None:
    box = reference_for(Metric("mse", "percent", "minimize", guess=100.0))
    assert box is not None
    assert hypervolume([1 / 32], [50.0], box) == pytest.approx(0.5) and hypervolume([1 / 32], [100.0], box) == 0


class Halving(Probe):
    """A task whose best possible score is known for some of the dense compute."""

    def best_possible(self, compute: float) -> float | None:
        if compute > 1:
            raise ValueError("nobody asked for more than the dense model")
        return 10 / compute if compute >= 0.3 else None


def test_the_best_possible_is_asked_at_what_was_delivered() -> None:
    front = dict(best_possible_front(Halving(), [0.3, 0.7, 1.3]))
    assert front[0.3] == pytest.approx(10 / 0.3) and front[0.7] == pytest.approx(10 / 0.7) and front[1.0] == 10
    assert min(front) == 0.3 and max(front) == 1.0 and list(front) == sorted(front)
    assert best_possible_front(Probe(), [0.3]) == []


def test_a_task_that_fails_at_its_best_possible_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Halving, "best_possible", lambda self, compute: 1 / 0)
    with pytest.raises(BenchError, match="task Halving cannot tell its best possible score: ZeroDivisionError"):
        best_possible_front(Halving(), [])


@pytest.mark.parametrize("seed", range(10))
def test_the_front_equals_its_definition(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 6, (25, 2)).astype(float)  # small integers: ties and twins
    expected = [not any((q <= p).all() and (q < p).any() for q in points) for p in points]
    assert nondominated(points[:, 0], points[:, 1]).tolist() == expected


def test_the_front_of_nothing() -> None:
    assert nondominated([], []).shape == (0,)


# hypervolume of means, and seed by seed


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(0.01, 1.5), st.floats(0, 60)), min_size=1, max_size=8))
def test_hypervolume_of_means_is_that_of_moocore(rows: list[tuple[float, float]]) -> None:
    costs, scores = np.array(rows).T
    found = hypervolume_of_means([costs], [scores], Reference())
    assert found.value == pytest.approx(hypervolume(costs, scores, Reference()), abs=1e-9)
    mirrored = hypervolume_of_means([costs], [100 - scores], Reference(best=100.0, worst=50.0))
    assert mirrored.value == pytest.approx(found.value, abs=1e-9)


def test_hypervolume_has_an_interval_and_failures_dominate_nothing() -> None:
    costs, scores = [[0.25]] * 3, [[10.0], [20.0], [30.0]]
    found = hypervolume_of_means(costs, scores, Reference())
    # a quarter is two of five halvings from the dense cost: 0.4 of the width
    assert (found.value, found.low, found.high) == pytest.approx((0.4 * 0.6, 0.4 * 0.4, 0.4 * 0.8))
    failed = hypervolume_of_means(costs, [[10.0], [20.0], [INF]], Reference())
    assert (failed.value, failed.low) == (0, 0) and failed.high == pytest.approx(0.32)


def test_hypervolume_by_seed() -> None:
    seeds = {1: ([0.25], [10.0]), 0: ([0.25, np.nan], [INF, INF]), 2: ([], [])}
    assert hypervolume_by_seed(seeds, Reference()) == {0: 0.0, 1: 0.32, 2: 0.0}
    with pytest.raises(ValueError, match="same shape"):
        hypervolume_by_seed({0: ([0.5], [1.0, 2.0])}, Reference())


def test_the_hypervolume_of_a_camp_is_that_of_its_methods_together() -> None:
    first = {0: ([0.25], [10.0]), 1: ([0.25], [10.0])}
    second = {1: ([0.5], [5.0]), 2: ([0.5], [5.0])}
    together = hypervolume_by_seed(camp_by_seed([first, second, {}]), Reference())
    assert together == {1: hypervolume([0.25, 0.5], [10.0, 5.0], Reference())}
    assert together[1] > hypervolume_by_seed(first, Reference())[1]
    assert camp_by_seed([]) == {} == camp_by_seed([{}])


# attainment


def attained_at(seeds: list[tuple[list[float], list[float]]], cost: float, share: float) -> float:
    """By definition: the best score that at least the share of the seeds reaches at no more than the cost."""
    best = sorted(min((e for c, e in zip(*seed, strict=True) if c <= cost and e < 50), default=INF) for seed in seeds)
    return best[max(1, math.ceil(share * len(seeds) - 1e-9)) - 1]


SEED = st.lists(st.tuples(st.sampled_from([1 / 16, 1 / 8, 1 / 4, 1 / 2]), SCORES), max_size=4).map(
    lambda points: ([c for c, _ in points], [10 * e for _, e in points])
)


@settings(deadline=None, max_examples=200)
@given(st.lists(SEED, min_size=1, max_size=7), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.6, 0.75, 1.0]))
def test_attainment_equals_its_definition(seeds: list[tuple[list[float], list[float]]], share: float) -> None:
    steps = attained(seeds, Reference(), share)
    for cost in (1 / 32, 1 / 16, 0.1, 1 / 8, 0.2, 1 / 4, 1 / 2, 0.9):
        assert steps.at(cost) == attained_at(seeds, cost, share)
    assert list(steps.costs) == sorted(set(steps.costs))
    assert all(later < former for former, later in itertools.pairwise(steps.scores))


def test_attainment_of_a_metric_where_large_is_good() -> None:
    seeds = [([0.5, 0.25], [90.0, 80.0]), ([0.5, 0.25], [95.0, 70.0]), ([0.5], [85.0])]
    steps = attained(seeds, Reference(best=100.0, worst=50.0))
    assert steps == Steps((0.25, 0.5), (70.0, 90.0), -INF)
    assert steps.at(0.1) == -INF and steps.at(0.25) == 70 and steps.at(1.0) == 90


def test_attainment_is_cut_at_the_ends_of_the_box() -> None:
    assert attained([([1 / 64], [10.0])], Reference()) == Steps((1 / 32,), (10.0,))
    assert attained([([0.5], [-3.0])], Reference()) == Steps((0.5,), (0.0,))
    assert attained([([1.0, 0.5, 0.5], [1.0, 50.0, INF])], Reference()) == Steps((), ())


def test_the_band_is_of_quartiles_where_there_are_seeds_for_it() -> None:
    seeds = [([0.5], [float(score)]) for score in (1, 2, 3, 4, 5, 6, 7, 8)]
    band = attainment_band(seeds, Reference())
    assert (band.best.scores, band.median.scores, band.worst.scores) == ((2.0,), (4.0,), (6.0,))
    assert band.shares == (0.25, 0.75) and band.n == 8
    few = attainment_band(seeds[:3], Reference())
    assert (few.best.scores, few.median.scores, few.worst.scores) == ((1.0,), (2.0,), (3.0,))
    assert few.shares == (0.0, 1.0)
    one = attainment_band(seeds[:1], Reference())
    assert one.best == one.median == one.worst


def test_a_seed_that_attained_nothing_still_counts() -> None:
    seeds = [([0.5], [10.0]), ([], []), ([0.5], [INF])]
    assert attained(seeds, Reference(), 0.0).scores == (10.0,)
    assert attained(seeds, Reference(), 0.5) == Steps((), ())
    assert attainment_band([([], [])], Reference()).median == Steps((), ())


def test_what_attainment_refuses() -> None:
    for seeds, share in (([], 0.5), ([([0.5], [1.0])], 1.5), ([([0.5], [1.0, 2.0])], 0.5)):
        with pytest.raises(ValueError, match=r"expected at least|same shape"):
            attained(seeds, Reference(), share)

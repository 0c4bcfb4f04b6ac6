import itertools

import numpy as np
import pytest

from bench.check import Probe
from bench.errors import BenchError
from bench.plugins.task import Metric
from bench.stats.fronts import Reference, best_possible_front, hypervolume, nondominated, reference_for


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


def test_what_does_not_beat_the_reference_point_covers_nothing() -> None:
    assert hypervolume([], [], Reference()) == 0
    assert hypervolume([1.0, 2.0, 0.5], [1.0, 1.0, 50.0], Reference()) == 0
    assert hypervolume([1 / 64], [0.0], Reference()) == 1  # cheaper than the cheapest counts as the cheapest


def test_a_dominated_point_adds_nothing() -> None:
    assert hypervolume([0.25, 0.5], [10.0, 12.0], Reference()) == hypervolume([0.25], [10.0], Reference())


def test_the_box_follows_the_direction_of_the_metric() -> None:
    right = reference_for(Metric("accuracy", "percent", "maximize"))
    assert right is not None
    assert hypervolume([0.25], [90.0], right) == hypervolume([0.25], [10.0], Reference())
    assert reference_for(Metric("si_sdr", "db", "maximize")) is None


def test_the_box_of_a_squared_error_ends_at_a_constant_answer() -> None:
    box = reference_for(Metric("mse", "percent", "minimize"))
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
        best_possible_front(Halving())


@pytest.mark.parametrize("seed", range(10))
def test_the_front_equals_its_definition(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 6, (25, 2)).astype(float)  # small integers: ties and twins
    expected = [not any((q <= p).all() and (q < p).any() for q in points) for p in points]
    assert nondominated(points[:, 0], points[:, 1]).tolist() == expected


def test_the_front_of_nothing() -> None:
    assert nondominated([], []).shape == (0,)

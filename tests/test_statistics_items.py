"""Intervals over the items of a test set: against brute force, and data whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.plugins.metrics import equal_error_rate
from bench.plugins.task import ItemScores
from bench.stats.estimates import Resampling, best_within, least_cost_no_worse, tail
from bench.stats.items import ErrorCounts, Items, drawn_scores, unit_draws

INF = math.inf
FEW = Resampling(resamples=300)


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
    monkeypatch.setattr("bench.stats.items._DRAWN_AT_ONCE", 700)
    assert [weights.shape for weights in unit_draws(items, 16, 0)] == [(100, 7), (100, 7), (100, 2)]
    assert drawn_scores([items] * 20, 16).shape == (16, 20)


# the least compute at no worse a score


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

"""Scores on redrawn items: against scoring the drawn items one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plugins.metrics import CURVES, Curve
from bench.plugins.task import ItemScores
from bench.stats.items import RedrawnScores, redraw_scores, unit_draws


def test_all_models_share_the_draws() -> None:
    scores = np.random.default_rng(0).normal(size=25)
    models = [ItemScores(own, None, np.arange(25)) for own in (scores, scores + 3)]
    drawn = redraw_scores(models, 300)
    assert np.allclose(drawn[:, 1] - drawn[:, 0], 3)
    assert np.array_equal(redraw_scores(models, 300), drawn)
    assert redraw_scores([], 300).shape == (300, 0)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(resamples, seeds, points\)"):
        RedrawnScores(np.ones((2, 3)), 5)
    with pytest.raises(ValueError, match="at least two units"):
        RedrawnScores(np.ones((9, 1, 1)), 1)
    one, other = (ItemScores(np.zeros(3), None, np.array(units)) for units in ([0, 1, 2], [0, 1, 1]))
    with pytest.raises(ValueError, match="not scored on the same items"):
        redraw_scores([one, other], 10)


# equal error rates of draws


def by_hand(items: ItemScores, resamples: int) -> np.ndarray:
    """The headline of each draw, scoring the drawn items one by one."""
    units = np.unique(items.units, return_inverse=True)[1]
    found = []
    for counts in unit_draws(items, units, resamples):
        for times in counts.T.astype(int):
            drawn = np.repeat(np.arange(len(units)), times[units])
            weights = None if items.weights is None else items.weights[drawn]
            found.append(CURVES[items.curve](items.scores[drawn], np.asarray(items.labels)[drawn], weights))
    return np.array(found)


@pytest.mark.parametrize("curve", CURVES)
@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 12), st.integers(1, 3)), min_size=2, max_size=60
    ).filter(lambda rows: len({label for _, label, _, _ in rows}) == 2)
)
def test_draws_score_as_the_drawn_items(curve: Curve, rows: list[tuple[int, bool, int, int]]) -> None:
    """With ties, with units of one class and of both, of any size and weight."""
    scores, labels, units, weights = (np.array(column) for column in zip(*rows, strict=True))
    items = ItemScores(scores.astype(float), labels, units, weights, curve)
    assert np.allclose(redraw_scores([items], 20)[:, 0], by_hand(items, 20), atol=1e-9)


def many_frames(units: int = 60, frames: int = 300) -> ItemScores:
    """Frames of recordings, some harder than others."""
    random = np.random.default_rng(0)
    labels = random.random(units * frames) < 0.5
    of = np.arange(units).repeat(frames)
    return ItemScores(random.normal(size=len(of)) + 2 * labels + 0.7 * random.normal(size=units)[of], labels, of)


def test_rates_are_exact_on_the_full_sample_and_close_on_draws_of_many_items() -> None:
    items = many_frames()
    whole = ItemScores(
        items.scores, items.labels, np.asarray(items.labels)
    )  # one unit a class: each draw has all items
    assert redraw_scores([whole], 3)[:, 0] == pytest.approx(items.headline, abs=1e-9)
    drawn = redraw_scores([items], 40)[:, 0]
    assert drawn == pytest.approx(by_hand(items, 40), abs=0.05)
    assert drawn.std() > 0.4


def test_average_precisions_are_close_on_draws_of_many_items() -> None:
    items = replace(many_frames(), curve="average_precision")
    drawn = redraw_scores([items], 40)[:, 0]
    assert drawn == pytest.approx(by_hand(items, 40), abs=0.15)
    assert drawn.std() > 0.4


def test_a_weighted_mean_is_a_ratio_of_sums() -> None:
    """The word error rate of each draw: all errors over all words."""
    words, errors = np.random.default_rng(0).integers(1, 9, (2, 30))
    items = ItemScores(100 * errors / words, None, np.arange(30) // 2, words)
    assert items.headline == pytest.approx(100 * errors.sum() / words.sum())
    (counts,) = unit_draws(items, items.units, 50)
    of = [100 * times[items.units] @ errors / (times[items.units] @ words) for times in counts.T]
    assert redraw_scores([items], 50)[:, 0] == pytest.approx(np.array(of), abs=1e-3)


def test_what_depends_on_one_another_is_drawn_together() -> None:
    """Recordings differ, so that drawing frames one by one would claim too much."""
    items = many_frames()
    alone = ItemScores(items.scores, items.labels, np.arange(len(items.scores)))
    assert redraw_scores([items], 200).std() > 1.5 * redraw_scores([alone], 200).std()


def test_draws_keep_the_number_of_each_class() -> None:
    items = ItemScores(np.arange(40.0), np.repeat([1, 0], [30, 10]), np.arange(40))
    (weights,) = unit_draws(items, items.units, 50)
    assert (weights[:30].sum(axis=0) == 30).all() and (weights[30:].sum(axis=0) == 10).all()
    assert len(np.unique(weights, axis=1).T) > 40


def test_memory_is_bounded_by_drawing_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    items = ItemScores(np.random.default_rng(0).normal(size=100), None, np.arange(100))
    monkeypatch.setattr("bench.stats.items._DRAWN_AT_ONCE", 700)
    assert [weights.shape for weights in unit_draws(items, items.units, 16)] == [(100, 7), (100, 7), (100, 2)]
    assert redraw_scores([items] * 20, 16).shape == (16, 20)

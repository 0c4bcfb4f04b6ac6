from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_curve

from bench import BenchError, Metric
from bench.plugins.metrics import CURVES, Curve, average_precision, equal_error_rate

#: scores on a coarse grid, so that ties are frequent, with both classes present
SCORED = st.lists(st.tuples(st.integers(-8, 8), st.integers(0, 1)), min_size=2, max_size=40).filter(
    lambda items: len({label for _, label in items}) == 2
)


def reference(scores: list[float], labels: list[int]) -> float:
    """Where scikit-learn's ROC, every point of it, crosses miss rate = false alarm rate."""
    false_alarm, hit, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = 1 - hit - false_alarm
    return 100 * float(np.interp(0, -gap, false_alarm))


def split(items: list[tuple[int, int]]) -> tuple[list[float], list[int]]:
    return [float(score) for score, _ in items], [label for _, label in items]


@given(SCORED)
def test_it_is_where_scikit_learns_roc_crosses_the_diagonal(items: list[tuple[int, int]]) -> None:
    scores, labels = split(items)
    assert equal_error_rate(scores, labels) == pytest.approx(reference(scores, labels), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_many_continuous_scores_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random(5000) < 0.1
    scores = rng.normal(size=5000) + 1.5 * labels
    assert equal_error_rate(scores, labels) == pytest.approx(reference(list(scores), list(labels)), abs=1e-9)


def test_gaussian_scores_have_the_error_of_theory() -> None:
    grid = (np.arange(20_000) + 0.5) / 20_000
    from scipy.stats import norm

    scores = np.r_[norm.ppf(grid) + 2, norm.ppf(grid)]
    labels = np.r_[np.ones(20_000), np.zeros(20_000)]
    assert equal_error_rate(scores, labels) == pytest.approx(100 * norm.cdf(-1), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([1, 0], [1, 0], 0),
        ([0, 1], [1, 0], 100),
        ([3, 3], [1, 0], 50),
        ([7] * 10, [1] + [0] * 9, 50),
        ([4, 3, 2, 1], [1, 1, 0, 0], 0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 100),
        ([4, 3, 2, 1], [1, 0, 1, 0], 50),
        ([2, 1, 1, 0], [1, 1, 0, 0], 25),  # the tie of one target and one other is crossed half-way
        ([2, 1, 0], [0, 1, 0], 50),
        ([0.9, 0.8, 0.3, 0.6, 0.2, 0.1], [1, 1, 1, 0, 0, 0], 100 / 3),
    ],
)
def test_small_sets_by_hand(scores: list[float], labels: list[int], expected: float) -> None:
    assert equal_error_rate(scores, labels) == pytest.approx(expected, abs=1e-9)


@given(SCORED)
def test_average_precision_is_that_of_scikit_learn(items: list[tuple[int, int]]) -> None:
    scores, labels = split(items)
    assert average_precision(scores, labels) == pytest.approx(100 * average_precision_score(labels, scores), abs=1e-9)


@pytest.mark.parametrize("curve", CURVES)
@given(SCORED, st.randoms(use_true_random=False))
def test_a_weight_is_so_many_items(curve: Curve, items: list[tuple[int, int]], random: Random) -> None:
    """Also none at all, as long as both classes are left."""
    times = [random.randrange(4) for _ in items]
    times[[label for _, label in items].index(0)] = times[[label for _, label in items].index(1)] = 1
    weighted = CURVES[curve](*split(items), times)
    repeated = [item for item, count in zip(items, times, strict=True) for _ in range(count)]
    assert weighted == pytest.approx(CURVES[curve](*split(repeated)), abs=1e-9)


@pytest.mark.parametrize("weights", [[1, -1, 1], [1, float("inf"), 1], [1, 1], [0, 1, 1]])
def test_weights_that_cannot_be_are_refused(weights: list[float]) -> None:
    with pytest.raises(BenchError, match="average precision: "):
        average_precision([3, 2, 1], [1, 0, 0], weights)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_infinite_scores_tie_like_any_others(order: list[int]) -> None:
    for tied in ([np.inf, np.inf], [-np.inf, -np.inf]):
        assert equal_error_rate(tied, order) == 50
    assert equal_error_rate([np.inf, 1.0, -np.inf, -np.inf], [1, 1, 0, 0]) == 0


def test_huge_scores_do_not_overflow() -> None:
    assert equal_error_rate([1.7e308, -1.7e308], [1, 0]) == 0


@given(SCORED)
def test_a_monotone_map_of_the_scores_changes_nothing(items: list[tuple[int, int]]) -> None:
    scores, labels = split(items)
    rate = equal_error_rate(scores, labels)
    for mapped in (3 * np.array(scores) + 5, np.exp(scores), np.arctan(scores), np.array(scores) ** 3):
        assert equal_error_rate(mapped, labels) == rate


@given(SCORED)
def test_swapping_the_classes_and_the_sign_changes_nothing(items: list[tuple[int, int]]) -> None:
    scores, labels = split(items)
    swapped = equal_error_rate([-s for s in scores], [1 - label for label in labels])
    assert swapped == pytest.approx(equal_error_rate(scores, labels), abs=1e-9)


@given(SCORED)
def test_negated_scores_have_the_complement(items: list[tuple[int, int]]) -> None:
    scores, labels = split(items)
    assert equal_error_rate([-s for s in scores], labels) == pytest.approx(100 - equal_error_rate(scores, labels))


@settings(max_examples=30)
@given(SCORED, st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(items: list[tuple[int, int]], random: "np.random.Generator") -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    assert equal_error_rate(*split(shuffled)) == equal_error_rate(*split(items))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, float("nan"), float("nan")], [1, 0, 1], "2 of 3 scores are NaN"),
        ([0.1, 0.2], [1, 1], "both classes, got 2 targets among 2"),
        ([0.1, 0.2], [0, 0], "both classes, got 0 targets among 2"),
        ([], [], "both classes"),
        ([0.1, 0.2], [1, 2], "labels must be 1"),
        ([0.1, 0.2], [1, -1], "labels must be 1"),
        ([0.1, 0.2], [1, float("nan")], "labels must be 1"),
        ([0.1, 0.2, 0.3], [1, 0], "3 scores but 2 labels"),
    ],
)
def test_what_has_no_error_rate_is_refused(scores: list[float], labels: list[float], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        equal_error_rate(scores, labels)


def test_columns_and_booleans_are_taken_as_they_are() -> None:
    scores = np.array([[0.9], [0.2], [0.4]], dtype=np.float32)
    assert equal_error_rate(scores, np.array([True, False, True])) == 0


@pytest.mark.parametrize(
    ("name", "title"), [("eer", "EER"), ("pr_auc", "PR AUC"), ("error", "error"), ("word_error", "word error")]
)
def test_abbreviations_are_in_capitals(name: str, title: str) -> None:
    assert Metric(name, unit="percent", direction="minimize").title == title

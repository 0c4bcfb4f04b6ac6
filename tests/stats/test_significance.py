"""Two methods, or two camps: against closed forms, against brute force, and on data whose truth is known."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats.estimates import LARGE_IS_GOOD
from bench.stats.fronts import Reference, camp_by_seed, hypervolume_by_seed
from bench.stats.significance import TOO_FEW, holm, permutation_test, probability_better, seeds_needed, smallest_p
from tests.stats.cases import INF, SCORES


def by_seed(*scores: float) -> dict[int, float]:
    return dict(enumerate(scores))


def unshared(*scores: float) -> dict[int, float]:
    """Scores of seeds that no other side has, so that nothing can be paired."""
    return dict(enumerate(scores, 100))


# the probability of being better


@settings(deadline=None, max_examples=100)
@given(st.lists(SCORES, min_size=1, max_size=6), st.lists(SCORES, min_size=1, max_size=6))
def test_unpaired_probability_is_that_of_mann_and_whitney(first: list[float], second: list[float]) -> None:
    found = probability_better(by_seed(*first), unshared(*second), sign=1)
    couples = list(itertools.product(first, second))
    assert found.value == pytest.approx(sum((a < b) + 0.5 * (a == b) for a, b in couples) / len(couples))
    back = probability_better(by_seed(*second), unshared(*first), sign=1)
    assert back.value == pytest.approx(1 - found.value)
    assert found.low is None or 0 <= found.low <= found.high <= 1  # type: ignore[operator]


def test_the_statistic_agrees_with_scipy() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=7), random.normal(size=9)
    found = probability_better(by_seed(*first), unshared(*second), sign=-1)
    assert found.value == pytest.approx(stats.mannwhitneyu(first, second).statistic / 63)


def test_pairs_are_the_seeds_that_both_have() -> None:
    first, second = {0: 1.0, 1: 5.0, 2: 9.0, 7: 0.0}, {2: 10.0, 1: 6.0, 0: 2.0, 8: 0.0}
    found = probability_better(first, second, sign=1)
    assert found.n == 3 and found.value == 1.0
    unpaired = probability_better({0: 1.0, 1: 3.0}, {1: 2.0, 6: 4.0}, sign=1)  # one shared seed is not enough
    assert unpaired.n == 2 and unpaired.value == 0.75
    with pytest.raises(ValueError, match="one side has 1 seeds, the other 0"):
        probability_better({0: 1.0}, {}, sign=1)


@pytest.mark.parametrize(("second", "value"), [(1.0, 1.0), (0.0, 0.5), (-1.0, 0.0)])
@pytest.mark.parametrize("n", [1, 3, 6])
def test_where_all_agree_the_interval_is_exact(second: float, value: float, n: int) -> None:
    found = probability_better(by_seed(*[0.0] * n), by_seed(*[second] * n), sign=1)
    sure = 0.025 ** (1 / n)
    assert found.value == value
    assert (found.low, found.high) == pytest.approx((sure * value, sure * value + 1 - sure))
    theirs = stats.binomtest(n, n).proportion_ci(0.95, "exact").low
    assert sure == pytest.approx(theirs)


def test_failures_lose_and_tie_with_each_other() -> None:
    found = probability_better(by_seed(INF, INF, 1.0), by_seed(INF, 2.0, INF), sign=1)
    assert found.value == pytest.approx(0.5)
    with pytest.raises(ValueError, match="NaN"):
        probability_better(by_seed(np.nan), by_seed(1.0), sign=1)


def test_one_seed_among_several_that_disagree_has_no_interval() -> None:
    found = probability_better(by_seed(1.0), unshared(0.0, 2.0, 3.0), sign=1)
    assert (found.value, found.low, found.over) == (pytest.approx(2 / 3), None, "nothing")


@pytest.mark.parametrize("other", [by_seed, unshared])
def test_intervals_of_the_probability_cover_it(other: Callable[..., dict[int, float]]) -> None:
    random, hits = np.random.default_rng(0), 0
    truth = stats.norm.cdf(0.5 / math.sqrt(2))
    for _ in range(150):
        first, second = by_seed(*random.normal(size=8)), other(*random.normal(0.5, size=8))
        found = probability_better(first, second, sign=1)
        hits += found.low <= truth <= found.high  # type: ignore[operator]
    assert hits >= 0.9 * 150


def test_sides_of_unequal_length_are_drawn_each_from_its_own() -> None:
    long, short = by_seed(*range(9)), unshared(2.5, 4.5, 6.5)
    there, back = probability_better(long, short, sign=1), probability_better(short, long, sign=1)
    assert (there.low, there.high) == pytest.approx((1 - back.high, 1 - back.low), abs=0.06)  # type: ignore[operator]


# permutation tests


def test_the_smallest_p_is_what_the_most_extreme_data_give() -> None:
    assert [smallest_p(n) for n in (0, 1, 2, 5, 6)] == [1.0, 1.0, 0.5, 0.0625, 0.03125]
    assert [round(smallest_p(*sizes), 4) for sizes in ((1, 1), (3, 3), (3, 4), (3, 5), (4, 4))] == [
        *(1.0, 0.1, 0.0571, 0.0357, 0.0286)
    ]
    for n in (6, 8):
        apart = permutation_test(by_seed(*range(n)), by_seed(*range(100, 100 + n)), sign=1)
        assert (
            apart.p == pytest.approx(smallest_p(n)) and f"exact permutation test of means, {n} paired" in apart.sentence
        )
    for n, m in ((4, 4), (3, 5), (6, 4)):
        apart = permutation_test(by_seed(*range(n)), by_seed(*range(100, 100 + m)), sign=1, paired=False)
        assert apart.p == pytest.approx(smallest_p(n, m)) and f"means, {n} + {m} unpaired" in apart.sentence


@pytest.mark.parametrize(
    ("n", "m", "paired"), [(5, 5, True), (1, 1, True), (3, 3, False), (3, 4, False), (1, 9, False)]
)
def test_too_few_seeds_give_a_sentence_and_no_p(n: int, m: int, paired: bool) -> None:
    found = permutation_test(by_seed(*range(n)), by_seed(*range(100, 100 + m)), sign=1, paired=paired)
    assert found.p is None and found.sentence.startswith(TOO_FEW)
    assert "needs 6 paired seeds, or 4 + 4 unpaired ones" in found.sentence
    assert found.advantage == pytest.approx(100 + (m - 1) / 2 - (n - 1) / 2)


def test_a_family_needs_more_seeds() -> None:
    assert seeds_needed(paired=True) == 6 and seeds_needed(paired=False) == 4
    assert seeds_needed(paired=True, family=10) == 9 and seeds_needed(paired=False, family=10) == 6
    found = permutation_test(by_seed(*range(6)), by_seed(*range(9, 15)), sign=1, family=10)
    assert found.p is None and "for one of 10 tests needs 9 paired seeds, or 6 + 6 unpaired" in found.sentence
    nobody = permutation_test({0: 1.0}, {1: 1.0}, sign=1, paired=True)
    assert nobody.p is None and nobody.advantage is None and "0 paired seeds" in nobody.sentence


def flips(first: np.ndarray, second: np.ndarray) -> float:
    """Twice the smaller tail of the mean difference over all choices of signs."""
    null = [float(np.dot(signs, first - second)) for signs in itertools.product((1, -1), repeat=len(first))]
    return tails(null, float((first - second).sum()))


def deals(first: np.ndarray, second: np.ndarray) -> float:
    """Twice the smaller tail over all ways to deal the runs out."""
    pooled, n = np.r_[first, second], len(first)
    null = [pooled[list(chosen)].sum() for chosen in itertools.combinations(range(len(pooled)), n)]
    return tails(null, float(first.sum()))


def tails(null: list[float], seen: float) -> float:
    values = np.array(null)
    return min(1.0, 2 * min((values <= seen + 1e-9).mean(), (values >= seen - 1e-9).mean()))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=6, max_size=7), st.sampled_from([0.1, 1.0, 1e-7])
)
def test_tests_equal_counting_all_permutations(pairs: list[tuple[int, int]], unit: float) -> None:
    first, second = (unit * np.array(side, dtype=float) + 0.3 for side in zip(*pairs, strict=True))
    found = permutation_test(by_seed(*first), by_seed(*second), sign=1)
    assert "exact" in found.sentence and found.p == pytest.approx(flips(first / unit, second / unit))
    dealt = permutation_test(by_seed(*first), by_seed(*second[:4]), sign=1, paired=False)
    assert "exact" in dealt.sentence and dealt.p == pytest.approx(deals(first / unit, second[:4] / unit))


def test_tests_are_symmetric_and_know_the_direction() -> None:
    first, second = by_seed(1, 2, 3, 4, 5, 6), by_seed(3, 1, 5, 7, 6, 9)
    there, back = permutation_test(first, second, sign=1), permutation_test(second, first, sign=1)
    assert there.p == back.p and there.advantage == pytest.approx(10 / 6) and back.advantage == pytest.approx(-10 / 6)
    assert permutation_test(first, second, sign=-1).advantage == pytest.approx(-10 / 6)
    assert there.sentence == f"p = {there.p:.2g} (exact permutation test of means, 6 paired seeds)"


def test_ties_throughout_are_no_difference() -> None:
    for paired in (True, False):
        found = permutation_test(by_seed(*[2.0] * 6), by_seed(*[2.0] * 6), sign=1, paired=paired)
        assert found.p == 1.0 and found.advantage == 0
        failed = permutation_test(by_seed(*[INF] * 6), by_seed(*[INF] * 6), sign=1, paired=paired)
        assert failed.p == 1.0 and failed.advantage is None and "of ranks" in failed.sentence


def test_sums_in_another_order_are_ties() -> None:
    """Sums of tenths that are equal on paper differ in the last digit, and then a tail was counted too small."""
    differences, zeros = by_seed(-0.1, 0.3, -0.2, -0.2, 0.1, 0.1), by_seed(*[0.0] * 6)
    assert permutation_test(differences, zeros, sign=1).p == 1.0
    first, second = by_seed(0.4, 0.4, 0.3, 0.5), by_seed(0.3, 0.3, 0.6, 0.5, 0.3)
    assert permutation_test(first, second, sign=1, paired=False).p == 1.0


def test_failures_are_compared_by_rank() -> None:
    good, failing = by_seed(1, 2, 3, 4, 5, 6), by_seed(INF, 9, INF, 9, INF, 9)
    for paired in (True, False):
        found = permutation_test(good, failing, sign=1, paired=paired)
        assert "of ranks" in found.sentence
        assert found.p == pytest.approx(smallest_p(6) if paired else smallest_p(6, 6))
    theirs = stats.wilcoxon([1, 2, -3, 4, 5, 6, 7.0], method="exact").pvalue
    own = permutation_test(by_seed(-1, -2, 3, -4, -5, -6, 0.0), by_seed(*[0.0] * 6, INF), sign=1)
    assert "of ranks" in own.sentence and own.p == pytest.approx(theirs)


def test_many_seeds_are_tested_by_a_draw_that_can_be_repeated() -> None:
    random = np.random.default_rng(0)
    first, second = by_seed(*random.normal(size=20)), by_seed(*random.normal(0.6, size=20))
    found, again = (permutation_test(first, second, sign=1, paired=False) for _ in range(2))
    assert found == again and "random" in found.sentence
    expected = stats.ttest_ind(list(first.values()), list(second.values())).pvalue
    assert found.p == pytest.approx(expected, abs=0.01)
    random_p = permutation_test(by_seed(*range(20)), by_seed(*range(100, 120)), sign=1).p
    assert random_p == 2 / 20_000  # a draw of 19,999 and the scores as they are: never 0


@pytest.mark.parametrize(("paired", "size"), [(True, 6 / 64), (False, 92 / 924)])
def test_null_data_are_called_different_no_more_often_than_the_level(paired: bool, size: float) -> None:
    """Size: the share of permutations that the most extreme outcomes at a level of 0.1 take up."""
    random, trials = np.random.default_rng(0), 200
    found = [
        permutation_test(by_seed(*random.normal(size=6)), by_seed(*random.normal(size=6)), sign=1, paired=paired).p
        for _ in range(trials)
    ]
    rejected = sum(p is not None and p <= 0.1 for p in found)
    low, high = stats.binom.ppf([0.0005, 0.9995], trials, size)
    assert low <= rejected <= high


# families


def test_holm_as_worked_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and the last may not fall below .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([None]) == [None] and holm([0.7, 0.8]) == [1.0, 1.0]
    assert holm([None, 0.02, None, 0.03]) == [None, pytest.approx(0.04), None, pytest.approx(0.04)]
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="outside"):
            holm([wrong])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 40).map(lambda k: k / 200), min_size=1, max_size=7), st.integers(1, 30))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], hundredths: int) -> None:
    level = hundredths / 100 + 1e-4  # on no boundary
    rejected: set[int] = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - step):
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(p_values)) if p is not None and p <= level} == rejected


def test_camps_are_compared_by_what_they_cover() -> None:
    random = np.random.default_rng(0)
    camps = [
        [{seed: ([0.25, 0.5], random.uniform(level, level + 5, 2)) for seed in range(6)} for _ in range(2)]
        for level in (5, 15)
    ]
    first, second = (hypervolume_by_seed(camp_by_seed(camp), Reference()) for camp in camps)
    assert probability_better(first, second, sign=LARGE_IS_GOOD).value == 1.0
    assert permutation_test(first, second, sign=LARGE_IS_GOOD).p == pytest.approx(1 / 32)

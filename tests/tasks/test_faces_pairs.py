"""Pairs of faces: which are compared, what is drawn together, and who is found at rank 1."""

import numpy as np
import pytest

from bench import ItemScores, equal_error_rate
from bench.stats.items import redraw_scores
from tasks.faces.pairs import Pairs


@pytest.mark.parametrize(("people", "group", "units"), [(12, 4, 3), (7, 3, 2), (3, 16, 1), (5, 2, 2)])
def test_groups_share_nobody_and_compare_everybody_in_them(people: int, group: int, units: int) -> None:
    whose = np.arange(people).repeat(3)
    pairs = Pairs.within_groups(whose, group)
    assert len(np.unique(pairs.units)) == units
    ends = np.stack([whose[pairs.first], whose[pairs.second]])
    everybody = [set(ends[:, pairs.units == unit].ravel()) for unit in np.unique(pairs.units)]
    assert sum(map(len, everybody)) == people == len(set().union(*everybody))
    assert len(pairs.first) == sum(3 * len(own) * (3 * len(own) - 1) // 2 for own in everybody)
    assert pairs.same.sum() == 3 * people
    assert (pairs.first != pairs.second).all()
    assert ((ends[0] == ends[1]) == (pairs.same == 1)).all()


def test_people_whom_pairs_connect_are_one_unit() -> None:
    people = np.arange(6).repeat(2)
    listed = np.array([[0, 1], [0, 2], [3, 4], [6, 7], [8, 10]])  # people 0-1-2, 3, 4-5
    assert Pairs.of(people, listed).units.tolist()[:3] == [Pairs.of(people, listed).units[0]] * 3
    assert len(set(Pairs.of(people, listed).units.tolist())) == 3


def test_identification_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(9), [2, 3, 4, 2, 5, 2, 3, 2, 2])
    embeddings = rng.standard_normal((9, 8))[people] + 0.9 * rng.standard_normal((len(people), 8))
    pairs = Pairs.within_groups(people, 4)
    lengths = np.linalg.norm(embeddings, axis=1)
    cosines = embeddings @ embeddings.T / np.outer(lengths, lengths)
    assert np.allclose(pairs.likeness(embeddings), cosines[pairs.first, pairs.second])
    gallery = np.array([np.flatnonzero(people == who)[0] for who in range(9)])
    right = []
    for probe in np.setdiff1d(np.arange(len(people)), gallery):
        there = gallery[:4] if people[probe] < 4 else gallery[4:]
        right.append(people[there[np.argmax(cosines[probe, there])]] == people[probe])
    found = pairs.identified(pairs.likeness(embeddings), people)
    assert found == pytest.approx(100 * np.mean(right))
    assert 10 < found < 100


def test_intervals_draw_groups() -> None:
    """Scores that differ from group to group scatter far more than so many independent pairs would."""
    rng = np.random.default_rng(0)
    pairs = Pairs.within_groups(np.arange(80).repeat(4), 8)
    easy = rng.uniform(0, 4, pairs.units.max() + 1)[pairs.units]
    scores = easy * pairs.same + rng.standard_normal(len(pairs.same))
    spread = [
        redraw_scores([ItemScores(scores, pairs.same, units)], 200).std()
        for units in (pairs.units, np.arange(len(pairs.units)))
    ]
    assert spread[0] > 3 * spread[1]
    assert 5 < equal_error_rate(scores, pairs.same) < 45

"""Rendered faces: the same on every machine, and nobody is known by what one would not call a face."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import equal_error_rate
from tasks.faces.embedded import Embedded
from tasks.faces.pairs import Pairs
from tasks.faces.people import SITUATION, draw_person, draw_situations
from tasks.faces.rendering import render

Features = NDArray[np.float64]


def histograms(pictures: NDArray[np.uint8]) -> Features:
    """Of red, green and blue, (n, 48)."""
    counts = [[np.bincount(own.ravel() // 16, minlength=16) for own in picture] for picture in pictures]
    return np.array(counts, np.float64).reshape(len(pictures), -1)


@pytest.fixture(scope="module")
def scored() -> tuple[NDArray[np.uint8], NDArray[np.int64], Pairs]:
    """Pictures of 80 people, whose they are, and the pairs that they are compared in."""
    corpus = Embedded(0, (2, 2, 80), (2, 2, 5), 40)
    people = np.arange(80).repeat(5)
    return np.concatenate([corpus.pictures("eval", i) for i in range(80)]), people, Pairs.within_groups(people, 16)


@pytest.mark.parametrize(
    "features",
    [
        lambda pictures: pictures.mean((2, 3)),
        histograms,
        lambda pictures: pictures.reshape(len(pictures), -1).astype(np.float64),
        lambda pictures: pictures.mean(1).reshape(len(pictures), -1),
    ],
    ids=["mean colour", "colour histograms", "pixels", "grey pixels"],
)
def test_colours_and_pixels_do_not_identify(
    features: Callable[[NDArray[np.uint8]], Features], scored: tuple[NDArray[np.uint8], NDArray[np.int64], Pairs]
) -> None:
    """By distance or by angle; chance is 50 % and, in a gallery of 16, 6 %. A trained network: some 4 % and 95 %."""
    pictures, people, pairs = scored
    found = features(pictures)
    found = found - found.mean(0)
    products = found @ found.T
    squares = np.diag(products)
    apart = squares + squares[:, None] - 2 * products
    for likeness in (-apart, products / np.sqrt(squares * squares[:, None])):
        assert equal_error_rate(likeness[pairs.first, pairs.second], pairs.same) > 33
        assert pairs.identified(likeness[pairs.first, pairs.second], people) < 28


def test_a_person_stays_the_same_and_differs_from_others() -> None:
    """In one situation, two pictures of a person differ by the sensor's noise alone, those of two people by more."""
    rng = np.random.default_rng(1)
    scenes = draw_situations(rng, 1)
    one, other = draw_person(rng), draw_person(rng)
    first, again, another = (render(who, scenes, 40, rng).astype(float) for who in (one, one, other))
    assert np.abs(first - again).mean() * 3 < np.abs(first - another).mean()


@pytest.mark.parametrize("name", SITUATION)
def test_every_part_of_a_situation_changes_the_picture(name: str) -> None:
    person = draw_person(np.random.default_rng(0))
    scenes = {own: np.full((1, 1), high, np.float32) for own, (_, high) in SITUATION.items()}
    drawn = draw_situations(np.random.default_rng(0), 1)
    scenes |= {own: drawn[own] for own in ("background", "object")}
    scenes |= {"hidden_x": scenes["hidden_x"] * 0, "hidden_y": scenes["hidden_y"] * 0}  # before the face
    other = scenes | {name: np.full((1, 1), SITUATION[name][0], np.float32)}
    first, second = (render(person, own, 40, np.random.default_rng(3)) for own in (scenes, other))
    assert (first != second).any()


def test_single_precision_all_the_way() -> None:
    """A number in double precision on the way would make everything after it twice as slow."""
    rng = np.random.default_rng(0)
    assert {own.dtype for drawn in (draw_person(rng), draw_situations(rng, 2)) for own in drawn.values()} == {
        np.dtype(np.float32)
    }


def test_pictures_depend_on_seed_split_and_person_alone() -> None:
    corpus = Embedded(0, (3, 3, 3), (2, 2, 2), 24)
    own = corpus.pictures("train", 1)
    assert own.shape == (2, 3, 24, 24)
    assert np.array_equal(own, Embedded(0, (9, 2, 2), (2, 4, 4), 24).pictures("train", 1))
    others = (
        corpus.pictures("train", 2),
        corpus.pictures("dev", 1),
        Embedded(1, (3, 3, 3), (2, 2, 2), 24).pictures("train", 1),
    )
    assert not any(np.array_equal(own, other) for other in others)

"""The embedded corpus: rendered faces. It says nothing about how well real people are told apart."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench import SPLITS, BenchError, Split
from tasks.faces.album import Indices, Pictures
from tasks.faces.people import Values, draw_person, draw_situations
from tasks.faces.rendering import render

GENERATOR_VERSION = 1  # raise it whenever the same corpus gives other pictures
MOST = 1_000_000  # people, or pictures of one
SMALLEST, LARGEST = 16, 512  # pixels of an edge


@dataclass(frozen=True)
class Embedded:
    """Rendered people. Every person draws from random streams of their own: nobody depends on the number of threads.

    Attributes:
        seed: of all of them, from 0 to 2**32 - 1.
        count: people in train, dev and eval.
        each: pictures of each of them, likewise.
        pixels: of an edge.
    """

    seed: int
    count: tuple[int, int, int]
    each: tuple[int, int, int]
    pixels: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BenchError(f"faces: corpus_seed {self.seed}, expected a whole number from 0 to 4294967295")
        if not SMALLEST <= self.pixels <= LARGEST:
            raise BenchError(f"faces: pixels {self.pixels}, expected {SMALLEST} to {LARGEST}")
        for split, people, pictures in zip(SPLITS, self.count, self.each, strict=True):
            if not (2 <= people <= MOST and 2 <= pictures <= MOST):
                raise BenchError(
                    f"faces: {pictures} pictures of {people} people in {split}, expected 2 to {MOST} of each"
                )

    def identity(self) -> dict[str, Any]:
        """What names the pictures."""
        return {"embedded": asdict(self), "generator": GENERATOR_VERSION}

    def people(self, split: Split) -> list[tuple[str, int]]:
        """Everybody is called by their parameters: who looks the same is the same."""
        at = SPLITS.index(split)
        people = (self._person(split, number)[0] for number in range(self.count[at]))
        digests = (hashlib.sha256(b"".join(map(bytes, own.values()))).hexdigest() for own in people)
        return [(digest[:16], self.each[at]) for digest in digests]

    def pictures(self, split: Split, number: int) -> Pictures:
        """Those of a person, (n, 3, pixels, pixels)."""
        person, rng = self._person(split, number)
        return render(person, draw_situations(rng, self.each[SPLITS.index(split)]), self.pixels, rng)

    def pairs(self, split: Split) -> Indices | None:
        """No list says which pictures to compare."""
        return None

    def _person(self, split: Split, number: int) -> tuple[dict[str, Values], np.random.Generator]:
        rng = np.random.default_rng([self.seed, SPLITS.index(split), number])
        return draw_person(rng), rng

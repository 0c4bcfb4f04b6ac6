"""What the network writes: phones of a small lexicon, or letters; and how words are told from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from string import ascii_uppercase

from bench import BenchError

BLANK, SEPARATOR = 0, 1  # classes of the network; the separator follows every word
FIRST_UNIT = 2

#: The 35 words of Speech Commands v2, digits and the ten commands first: how they are written in phones, then other
#: ways in which they are spoken. A diphthong is two vowels.
PRONUNCIATIONS = """
    ZERO      z ih r ao uh     / z iy r ao uh
    ONE       w ah n           / w ax n
    TWO       t uw
    THREE     th r iy          / f r iy
    FOUR      f ao r           / f ao
    FIVE      f aa ih v        / f aa v
    SIX       s ih k s
    SEVEN     s eh v ax n      / s eh v n
    EIGHT     eh ih t          / eh ih
    NINE      n aa ih n        / n aa n
    YES       y eh s           / y ae s
    NO        n ao uh          / n ao
    UP        ah p
    DOWN      d aa uh n        / d ae uh n
    LEFT      l eh f t         / l eh f
    RIGHT     r aa ih t        / r aa ih
    ON        aa n             / ao n
    OFF       ao f             / aa f
    STOP      s t aa p         / s t ao p
    GO        g ao uh          / g ao
    BACKWARD  b ae k w er d    / b ae k er d
    BED       b eh d
    BIRD      b er d
    CAT       k ae t
    DOG       d ao g           / d aa g
    FOLLOW    f aa l ao uh     / f aa l ax
    FORWARD   f ao r w er d    / f ao w er d
    HAPPY     hh ae p iy
    HOUSE     hh aa uh s
    LEARN     l er n
    MARVIN    m aa r v ih n    / m aa v ih n
    SHEILA    sh iy l ax
    TREE      t r iy
    VISUAL    v ih sh uw ax l  / v ih sh w ax l
    WOW       w aa uh
"""

#: word -> its pronunciations, the one that is written first
LEXICON: dict[str, tuple[tuple[str, ...], ...]] = {
    line.split()[0]: tuple(tuple(spoken.split()) for spoken in line.strip().partition(" ")[2].split("/"))
    for line in PRONUNCIATIONS.strip().splitlines()
}
DIGITS, COMMANDS = [*LEXICON][:10], [*LEXICON][10:20]


@dataclass(frozen=True)
class Vocabulary:
    """The classes of the network: blank, the end of a word, then the units that words are written in.

    Attributes:
        name: of the error rate of the units: ``per`` (phones) or ``cer`` (characters).
        units: from class ``FIRST_UNIT`` on.
        spellings: of the words that there are; None where any word is written by its letters.
    """

    name: str
    units: tuple[str, ...]
    spellings: Mapping[str, tuple[str, ...]] | None = None

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return FIRST_UNIT + len(self.units)

    def written(self, words: Iterable[str], place: str) -> list[int]:
        """The classes of a transcript, each word followed by the separator.

        Args:
            words: in capitals.
            place: where they stand, for the message.

        Raises:
            BenchError: a word is not in the lexicon, or has what is no letter.
        """
        classes: list[int] = []
        for word in words:
            units = tuple(word) if self.spellings is None else self.spellings.get(word, ())
            if not units or not set(units) <= set(self.units):
                known = "letters A to Z and ' only" if self.spellings is None else f"one of {', '.join(self.spellings)}"
                raise BenchError(f"{place}: the word {word!r} is not in the lexicon; expected {known}.")
            classes += [*(FIRST_UNIT + self.units.index(unit) for unit in units), SEPARATOR]
        return classes

    def read(self, classes: Sequence[int]) -> list[str]:
        """The words between separators; units that spell none of the lexicon become a word in brackets."""
        words: list[list[str]] = [[]]
        for number in classes:
            if number == SEPARATOR:
                words.append([])
            else:
                words[-1].append(self.units[number - FIRST_UNIT])
        return [self._word(tuple(units)) for units in words if units]

    def _word(self, units: tuple[str, ...]) -> str:
        if self.spellings is None:
            return "".join(units)
        found = [word for word, spelling in self.spellings.items() if spelling == units]
        return found[0] if found else f"<{' '.join(units)}>"


PHONES = Vocabulary(
    "per",
    tuple(sorted({*chain.from_iterable(spoken[0] for spoken in LEXICON.values())})),
    {word: spoken[0] for word, spoken in LEXICON.items()},
)
LETTERS = Vocabulary("cer", ("'", *ascii_uppercase))

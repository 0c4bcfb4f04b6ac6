"""Thirty-one phones, and the random words that are made of them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tasks._speech import FRAME, SAMPLE_RATE

Manner = Literal["vowel", "nasal", "liquid", "fricative", "stop"]


@dataclass(frozen=True)
class Phone:
    """Targets of one phone for an average man: formants in Hz, amplitudes relative to a full vowel.

    Vowel formants lie close to the averages of Peterson and Barney (1952); the way amplitudes drive a voiced
    cascade and a parallel noise branch is that of Klatt's synthesiser (1980).
    """

    manner: Manner
    formants: tuple[float, float, float]
    duration_ms: float
    voicing: float
    aspiration: float = 0.0
    frication: float = 0.0
    noise_hz: float = 0.0  # centre of the frication noise; 0 leaves it where it was
    noise_bandwidth_hz: float = 3000.0


PHONES: dict[str, Phone] = {
    "iy": Phone("vowel", (280, 2250, 2900), 110, 1.0),
    "ih": Phone("vowel", (400, 1950, 2550), 80, 1.0),
    "eh": Phone("vowel", (550, 1770, 2490), 100, 1.0),
    "ae": Phone("vowel", (690, 1660, 2490), 130, 1.0),
    "ah": Phone("vowel", (620, 1220, 2550), 80, 1.0),
    "aa": Phone("vowel", (710, 1100, 2540), 130, 1.0),
    "ao": Phone("vowel", (570, 840, 2410), 130, 1.0),
    "uh": Phone("vowel", (440, 1020, 2240), 80, 1.0),
    "uw": Phone("vowel", (300, 870, 2240), 110, 1.0),
    "er": Phone("vowel", (490, 1350, 1690), 120, 1.0),
    "ax": Phone("vowel", (500, 1400, 2500), 55, 0.9),
    "m": Phone("nasal", (250, 1000, 2200), 65, 0.45),
    "n": Phone("nasal", (250, 1500, 2500), 60, 0.45),
    "ng": Phone("nasal", (250, 2000, 2700), 65, 0.45),
    "l": Phone("liquid", (360, 1200, 2700), 60, 0.7),
    "r": Phone("liquid", (330, 1150, 1450), 65, 0.7),
    "w": Phone("liquid", (290, 650, 2200), 60, 0.65),
    "y": Phone("liquid", (270, 2150, 2950), 55, 0.65),
    "s": Phone("fricative", (320, 1650, 2600), 105, 0.0, 0.0, 0.50, 5800, 2200),
    "sh": Phone("fricative", (320, 1750, 2500), 105, 0.0, 0.0, 0.45, 3300, 1800),
    "f": Phone("fricative", (340, 1100, 2300), 90, 0.0, 0.05, 0.14, 5000, 5000),
    "th": Phone("fricative", (320, 1300, 2550), 85, 0.0, 0.03, 0.12, 6000, 4000),
    "hh": Phone("fricative", (500, 1400, 2500), 60, 0.05, 0.5, 0.0, 2000, 3000),
    "z": Phone("fricative", (280, 1650, 2600), 80, 0.35, 0.0, 0.28, 5600, 2200),
    "v": Phone("fricative", (280, 1100, 2300), 60, 0.45, 0.0, 0.08, 5000, 5000),
    "p": Phone("stop", (300, 900, 2200), 75, 0.0, 0.35, 0.30, 1200, 2500),
    "t": Phone("stop", (300, 1700, 2600), 70, 0.0, 0.30, 0.45, 4200, 2500),
    "k": Phone("stop", (300, 1900, 2300), 80, 0.0, 0.35, 0.40, 2200, 1500),
    "b": Phone("stop", (250, 900, 2200), 60, 0.18, 0.05, 0.20, 1000, 2000),
    "d": Phone("stop", (250, 1700, 2600), 55, 0.18, 0.05, 0.30, 3800, 2500),
    "g": Phone("stop", (250, 1900, 2300), 60, 0.18, 0.05, 0.28, 2000, 1500),
}

VOWELS = [name for name, phone in PHONES.items() if phone.manner == "vowel"]
SONORANTS = [name for name, phone in PHONES.items() if phone.manner in ("nasal", "liquid")]
OBSTRUENTS = [name for name, phone in PHONES.items() if phone.manner in ("fricative", "stop")]


class Segment(NamedTuple):
    """One phone, or a pause (``None``), and how many 5 ms frames it lasts."""

    phone: str | None
    frames: int


@dataclass(frozen=True)
class Pauses:
    """How often a word is followed by a pause, and for how many seconds."""

    probability: float = 0.25
    seconds: tuple[float, float] = (0.08, 0.45)


def draw_segments(rng: np.random.Generator, frames: int, rate: float, pauses: Pauses) -> list[Segment]:
    """Words and pauses that fill at least ``frames`` frames; a ``rate`` above 1 speaks faster."""
    segments = [draw_pause(rng, (0.05, 0.25))]
    filled = segments[0].frames
    while filled < frames:
        word = [draw_segment(rng, name, rate) for _ in range(rng.integers(1, 4)) for name in _syllable(rng)]
        if rng.random() < pauses.probability:
            word.append(draw_pause(rng, pauses.seconds))
        segments += word
        filled += sum(segment.frames for segment in word)
    return segments


def _syllable(rng: np.random.Generator) -> list[str]:
    """An onset of none to two consonants, one or two vowels, perhaps a closing consonant."""
    phones: list[str] = []
    onset = rng.random()
    if onset < 0.45:
        phones.append(_pick(rng, OBSTRUENTS))
    elif onset < 0.8:
        phones.append(_pick(rng, SONORANTS))
    if onset < 0.15:  # only after an obstruent: "pla", "kwi", "fro"
        phones.append(_pick(rng, ["l", "r", "w"]))
    phones.append(_pick(rng, VOWELS))
    if rng.random() < 0.15:
        phones.append(_pick(rng, VOWELS))
    if rng.random() < 0.4:
        phones.append(_pick(rng, OBSTRUENTS + SONORANTS))
    return phones


def _pick(rng: np.random.Generator, names: list[str]) -> str:
    return names[int(rng.integers(len(names)))]


def draw_segment(rng: np.random.Generator, name: str, rate: float) -> Segment:
    """A phone, as long as it happens to be; a ``rate`` above 1 speaks faster."""
    milliseconds = PHONES[name].duration_ms / rate * np.exp(rng.normal(0, 0.22))
    return Segment(name, max(4, int(milliseconds / 5)))


def draw_pause(rng: np.random.Generator, seconds: tuple[float, float]) -> Segment:
    """Silence of a length in a range."""
    return Segment(None, int(rng.uniform(*seconds) * SAMPLE_RATE / FRAME))

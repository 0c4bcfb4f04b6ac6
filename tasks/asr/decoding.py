"""From the outputs of a network to words, and how many of them are wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import edit_distance

from bench import BenchError, ItemScores
from tasks.asr.vocabulary import BLANK, SEPARATOR, Vocabulary

DECODERS = ("greedy", "beam")
BEAM = 50  # hypotheses that are kept

#: logits (B, classes, T) -> the classes of each utterance, blanks and repeats left out
Decoder = Callable[[Tensor], list[list[int]]]


@dataclass(frozen=True)
class Recognised(ItemScores):
    """Word errors of each utterance in percent, weighted by its words; beside them the errors of single units.

    Attributes:
        unit_errors: (n,) phones or characters that are wrong, missing or too many.
        units_said: (n,) phones or characters of the transcript.
    """

    unit_errors: NDArray[np.int64] = field(kw_only=True)
    units_said: NDArray[np.int64] = field(kw_only=True)

    def word_rate(self, chosen: NDArray[np.bool_]) -> float:
        """Word error rate in percent of some of the utterances, (n,)."""
        return float(np.average(self.scores[chosen], weights=np.asarray(self.weights)[chosen]))

    def unit_rate(self, chosen: NDArray[np.bool_]) -> float:
        """Error rate of phones or characters in percent of some of the utterances, (n,)."""
        return float(100 * self.unit_errors[chosen].sum() / self.units_said[chosen].sum())


def decoder_of(name: str, vocabulary: Vocabulary) -> Decoder:
    """What decodes by this name; a ``BenchError`` if it lacks its package."""
    return greedy if name == "greedy" else _beam_search(vocabulary)


def greedy(logits: Tensor) -> list[list[int]]:
    """The likeliest class of each frame (Graves et al. 2006, best path decoding)."""
    paths = logits.argmax(1).tolist()
    return [[number for number, _ in groupby(path) if number != BLANK] for path in paths]


def recognised(
    found: Sequence[Sequence[int]], targets: NDArray[np.int64], words: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> Recognised:
    """Word error rates: substitutions, deletions and insertions, by words of the transcript.

    Args:
        found: decoded classes of each utterance.
        targets: (n, longest) classes of the transcripts, padded with -1.
        words: of the transcripts.
        vocabulary: how words are told from classes.
    """
    wrong = [edit_distance(said, vocabulary.read(own)) for said, own in zip(words, found, strict=True)]
    units = [[number for number in row if number > SEPARATOR] for row in targets.tolist()]
    missed = [
        edit_distance(said, [number for number in own if number != SEPARATOR])
        for said, own in zip(units, found, strict=True)
    ]
    count = np.array([len(said) for said in words])
    return Recognised(
        100 * np.array(wrong) / count,
        None,
        np.arange(len(count)),
        weights=count,
        unit_errors=np.array(missed),
        units_said=np.array([len(said) for said in units]),
    )


def _beam_search(vocabulary: Vocabulary) -> Decoder:
    """torchaudio's beam search: over the words of the lexicon, or over letters; without a language model."""
    try:
        from torchaudio.models.decoder import ctc_decoder
    except (ImportError, RuntimeError):
        raise BenchError(
            "decoder beam needs the package flashlight-text: install compression-bench[beam], or use decoder greedy."
        ) from None
    blank, end = "<blank>", "<end>"
    with NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        spellings = vocabulary.spellings or {}
        file.writelines(f"{word} {' '.join(units)} {end}\n" for word, units in spellings.items())
        file.flush()
        search = ctc_decoder(
            lexicon=file.name if spellings else None,
            tokens=[blank, end, *vocabulary.units],
            beam_size=BEAM,
            blank_token=blank,
            sil_token=end,
        )

    def decode(logits: Tensor) -> list[list[int]]:
        found = search(logits.log_softmax(1).transpose(1, 2).float().cpu().contiguous())
        return [hypotheses[0].tokens.tolist() for hypotheses in found]

    return decode

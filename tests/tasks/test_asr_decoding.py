"""From outputs to words and their errors; the independent truth is jiwer's."""

import jiwer
import numpy as np
import pytest
import torch

from bench import BenchError
from tasks._speech.phones import PHONES as SPOKEN
from tasks.asr.decoding import decoder_of, greedy, recognised
from tasks.asr.vocabulary import BLANK, COMMANDS, DIGITS, LETTERS, LEXICON, PHONES, SEPARATOR


def outputs(*paths: list[int], classes: int = PHONES.classes) -> torch.Tensor:
    """Logits (B, classes, T) whose likeliest classes are these."""
    return 8 * torch.nn.functional.one_hot(torch.tensor(paths), classes).float().transpose(1, 2)


def test_every_word_is_written_in_its_own_way_and_can_be_spoken() -> None:
    assert len(LEXICON) == 35 and len(DIGITS) == len(COMMANDS) == 10 and COMMANDS[-1] == "GO"
    assert {phone for spoken in LEXICON.values() for phones in spoken for phone in phones} <= {*SPOKEN}
    assert len({spoken[0] for spoken in LEXICON.values()}) == 35
    assert all(PHONES.read(PHONES.written([word], "")) == [word] for word in LEXICON)


def test_blanks_and_repeats_are_left_out() -> None:
    zero = PHONES.written(["ZERO"], "")
    path = [BLANK, zero[0], zero[0], BLANK, *zero[1:], SEPARATOR, BLANK, zero[0], BLANK, zero[0]]
    assert greedy(outputs(path)) == [[*zero, zero[0], zero[0]]]
    assert PHONES.read(greedy(outputs(path))[0]) == ["ZERO", "<z z>"]


def test_word_errors_are_those_of_jiwer() -> None:
    rng = np.random.default_rng(0)
    words = [[*map(str, rng.choice(["ZERO", "GO", "WOW"], rng.integers(1, 6)))] for _ in range(60)]
    heard = [[*map(str, rng.choice(["ZERO", "GO", "CAT"], rng.integers(0, 6)))] for _ in range(60)]
    found = [PHONES.written(own, "") for own in heard]
    targets = np.full((60, 40), -1)
    for row, own in zip(targets, words, strict=True):
        row[: len(classes)] = (classes := PHONES.written(own, ""))
    items = recognised(found, targets, words, PHONES)
    said, understood = ([" ".join(own) for own in side] for side in (words, heard))
    assert items.headline == pytest.approx(100 * jiwer.wer(said, understood))
    spelled = {word: " ".join(phones) for word, phones in (PHONES.spellings or {}).items()}
    phones = [[" ".join(spelled[word] for word in own) for own in side] for side in (words, heard)]
    assert items.unit_rate(np.ones(60, bool)) == pytest.approx(100 * jiwer.wer(*phones))


def test_characters_are_counted_without_the_ends_of_words() -> None:
    targets = np.array([LETTERS.written(["IT'S", "ME"], "")])
    found = [LETTERS.written(["ITS", "ME"], "")]
    items = recognised(found, targets, [["IT'S", "ME"]], LETTERS)
    assert items.headline == 50 and items.unit_rate(np.array([True])) == pytest.approx(100 / 6)


@pytest.mark.parametrize(
    ("vocabulary", "word", "known"), [(PHONES, "LIGHT", "one of ZERO, ONE"), (LETTERS, "4TH", "letters A to Z and '")]
)
def test_a_word_outside_the_lexicon_is_named_with_its_place(vocabulary: object, word: str, known: str) -> None:
    with pytest.raises(BenchError, match=f"here: the word '{word}' is not in the lexicon; expected {known}"):
        vocabulary.written(["GO" if vocabulary is PHONES else "A", word], "here")  # type: ignore[attr-defined]


def test_beam_search_finds_the_word_that_the_likeliest_phones_miss() -> None:
    pytest.importorskip("flashlight.lib.text")
    left = PHONES.written(["LEFT"], "")
    logits = outputs(
        [*left, BLANK], [*left[:3], BLANK, left[4], BLANK]
    )  # of the second, the likeliest path lacks the t
    logits[1, left[3], 3] = 7.9
    assert [PHONES.read(own) for own in greedy(logits)] == [["LEFT"], ["<l eh f>"]]
    assert [PHONES.read(own) for own in decoder_of("beam", PHONES)(logits)] == [["LEFT"], ["LEFT"]]
    letters = outputs([*LETTERS.written(["GO"], ""), BLANK], classes=LETTERS.classes)
    assert [LETTERS.read(own) for own in decoder_of("beam", LETTERS)(letters)] == [["GO"]]


def test_beam_search_without_its_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchaudio.models.decoder", None)
    with pytest.raises(BenchError, match=r"needs the package flashlight-text: install compression-bench\[beam\]"):
        decoder_of("beam", PHONES)

from pathlib import Path

import numpy as np
import pytest

from bench import BenchError
from tasks._speech.channel import record
from tasks._speech.phones import Pauses
from tasks._speech.speaker import draw_speaker
from tasks._speech.synthesis import synthesise
from tasks.vad.activity import active_by_energy, mask_of, read_intervals, write_intervals


def test_written_intervals_read_as_they_were(tmp_path: Path) -> None:
    active = np.random.default_rng(0).random(200) < 0.5
    write_intervals(tmp_path / "a.txt", active, 80)
    np.testing.assert_array_equal(mask_of(read_intervals(tmp_path / "a.txt"), 200 * 80), np.repeat(active, 80))


def test_intervals_are_seconds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0.5 1.25\n\n2 9.0\n")
    mask = mask_of(read_intervals(tmp_path / "a.txt"), 40_000)
    assert np.flatnonzero(np.diff(mask.astype(int))).tolist() == [7999, 19_999, 31_999]
    assert mask[-1] and not mask[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.txt is empty: expected at least one stretch"),
        ("0 1\nfoo 2\n", r"a\.txt, line 2: 'foo 2'; expected two numbers"),
        ("0 1 speech\n", "line 1: '0 1 speech'; expected two numbers"),
        ("2 1\n", "line 1: '2 1'; expected two numbers, the start and end of speech in seconds"),
        ("-1 1\n", "line 1: '-1 1'"),
        ("0 nan\n", "line 1: '0 nan'"),
    ],
)
def test_bad_alignment_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(BenchError, match=message):
        read_intervals(tmp_path / "a.txt")


def burst(gaps: list[tuple[float, float]], seconds: float = 2.0, floor: float = 1e-4) -> np.ndarray:
    """Noise that is loud but in the gaps."""
    x = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    for start, end in gaps:
        x[int(start * 16_000) : int(end * 16_000)] *= floor / 0.1
    return x


def test_energy_finds_pauses_bridges_closures_and_drops_clicks() -> None:
    x = burst([(0, 0.5), (0.8, 0.87), (1.2, 2.0)])
    x[24_000:24_160] += 0.2  # a click of 10 ms in the last pause
    active = active_by_energy(x)
    assert len(active) == len(x)
    edges = np.flatnonzero(np.diff(active.astype(int))) / 16_000
    np.testing.assert_allclose(edges, [0.5, 1.2], atol=0.011)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 100.0])
def test_threshold_follows_the_level(gain: float) -> None:
    x = burst([(0.6, 1.1)])
    np.testing.assert_array_equal(active_by_energy(x * np.float32(gain)), active_by_energy(x))


def test_speech_without_pauses_is_all_active_and_short_files_pass() -> None:
    assert active_by_energy(burst([])).all()
    assert active_by_energy(np.ones(100, np.float32)).tolist() == [True] * 100


def test_energy_agrees_with_what_was_synthesised() -> None:
    """In a room, with the noise of the place: echoes aside (5 % of all time), energy finds what the alignment knows."""
    agreement = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        speech = synthesise(rng, draw_speaker(rng), 4.0, Pauses(0.45, (0.15, 1.4)))
        by_energy = active_by_energy(record(rng, speech.samples))
        agreement.append(np.mean(by_energy == np.repeat(speech.active, 80)))
    assert np.mean(agreement) > 0.92
    assert min(agreement) > 0.8

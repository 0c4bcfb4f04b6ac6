"""Small real folders in the layouts of VCTK 0.92 and ESC-50."""

from pathlib import Path

import numpy as np
import soundfile

from tasks.vad.esc50 import AUDIO, Clip, write_table
from tasks.vad.vctk import audio_path

CATEGORIES = ("rain", "dog", "crying_baby")


def write_vctk(root: Path, speakers: int = 4, utterances: int = 2, rate: int = 48_000, seconds: float = 1.5) -> Path:
    """Bursts of noise instead of speech: silence for 0.3 s, loud until 0.3 s before the end."""
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        for number in range(utterances):
            name = f"p{225 + speaker}"
            path = audio_path(root, name, f"{name}_{number + 1:03d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = rng.normal(0, 1e-4, int(seconds * rate))
            samples[int(0.3 * rate) : -int(0.3 * rate)] += rng.normal(0, 0.1, len(samples) - 2 * int(0.3 * rate))
            soundfile.write(path, samples, rate, subtype="PCM_16")
    return root


def write_esc50(root: Path, rate: int = 44_100, seconds: float = 0.5) -> Path:
    """One tone of each category in each fold, followed by as much silence."""
    clips = []
    for fold in range(1, 6):
        for target, category in enumerate(CATEGORIES):
            path = root / AUDIO / f"{fold}-{100_000 + target}-A-{target}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = 0.1 * np.sin(2 * np.pi * (300 + 100 * target) * np.arange(int(seconds * rate)) / rate)
            soundfile.write(path, np.r_[wave, 0 * wave], rate, subtype="PCM_16")
            clips.append(Clip(category, fold, path))
    write_table(root, clips)
    return root

"""From a waveform to the input of a network, as a mixture gets there, and from its output to a score for each frame."""

import torch
from torch import Tensor, nn

from bench import SoundScoring
from tasks._speech import SAMPLE_RATE
from tasks._speech.filterbank import Normaliser, mel_weights
from tasks._speech.scoring import LogEnergies
from tasks.vad.features import FLOOR, HOP, WINDOW
from tasks.vad.scoring import speech_logits

SHORTEST = 16 * HOP  # samples: the chunk that latency is quoted for


class MixtureFeatures(nn.Module):
    """Samples at 16 kHz, (samples,), float64 -> (1, bands, frames), normalised as in training."""

    mean: Tensor
    scale: Tensor

    def __init__(self, bands: int, normalise: Normaliser) -> None:
        super().__init__()
        self.energies = LogEnergies(mel_weights(bands), WINDOW, HOP, FLOOR)
        self.register_buffer("mean", torch.from_numpy(normalise.mean))
        self.register_buffer("scale", torch.from_numpy(normalise.scale))

    def forward(self, samples: Tensor) -> Tensor:
        """Zero mean and unit variance for each band."""
        energies: Tensor = self.energies(samples)
        return ((energies - self.mean) * self.scale).T.unsqueeze(0)


class FrameScores(nn.Module):
    """(1, T', 1 or 2) -> (T',)."""

    def forward(self, outputs: Tensor) -> Tensor:
        """The logits of speech."""
        return speech_logits(outputs)[0]


def sound_scoring_of(bands: int, normalise: Normaliser) -> SoundScoring:
    """A score every 10 ms: the log odds of speech."""
    features = MixtureFeatures(bands, normalise)
    return SoundScoring(SAMPLE_RATE, features, FrameScores(), "log odds of speech", shortest=SHORTEST, step=HOP)

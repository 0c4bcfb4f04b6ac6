"""From a waveform to the input of a network, as an utterance of the corpus gets there."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import SoundScoring
from tasks._speech import SAMPLE_RATE
from tasks._speech.scoring import LogEnergies, SecondLessFirst
from tasks.antispoof.features import FeatureSettings, band_weights


class UtteranceFeatures(nn.Module):
    """Samples at 16 kHz, (samples,), float64 -> (1, bands, frames).

    Args:
        settings: of the filterbank.
        scale: factor of each band, (bands,), float32.
        frames: that are scored; a shorter utterance is repeated.
    """

    scale: Tensor

    def __init__(self, settings: FeatureSettings, scale: NDArray[np.float32], frames: int) -> None:
        super().__init__()
        self.energies = LogEnergies(band_weights(settings), settings.window, settings.hop, settings.floor)
        self.frames = frames
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, samples: Tensor) -> Tensor:
        """Each band less its mean over the utterance."""
        found: Tensor = self.energies(samples)
        count = torch._shape_as_tensor(found)[0]
        # summed frame after frame, as NumPy does it: another last bit is another level in an integer model
        mean = torch.cumsum(found, 0)[-1] / count
        repeated = ((found - mean) * self.scale)[torch.arange(self.frames) % count]
        return repeated.T.unsqueeze(0)


def sound_scoring_of(scale: NDArray[np.float32], frames: int) -> SoundScoring:
    """One score a recording: the log odds of bona fide speech."""
    settings = FeatureSettings()
    features = UtteranceFeatures(settings, scale, frames)
    meaning = "log odds of bona fide speech"
    return SoundScoring(SAMPLE_RATE, features, SecondLessFirst(), meaning, shortest=settings.window)

"""What turns features over time into one vector for an utterance."""

import torch
from torch import Tensor, nn


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over time (Snyder et al. 2018, x-vectors, https://doi.org/10.1109/ICASSP.2018.8461375)."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, T) -> (B, 2 C)."""
        mean = features.mean(2)
        # the variance as a mean of squares: every runtime has it, also on an axis whose length is free
        deviation = ((features - mean.unsqueeze(2)).square().mean(2) + 1e-5).sqrt()
        return torch.cat([mean, deviation], 1)

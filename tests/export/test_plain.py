"""A finished model is plain: it computes with its own parameters and buffers alone."""

import copy

import pytest
import torch
from torch import nn

from bench.check import ProbeNet
from bench.errors import MethodError
from bench.export.model import require_plain


def test_a_plain_model_passes_and_a_buffer_is_no_secret() -> None:
    model = ProbeNet()
    model.register_buffer("scale", torch.ones(2))
    require_plain(model, torch.zeros(1, 8, 20))


def test_a_tensor_in_an_attribute_is_hidden() -> None:
    class Secret(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ProbeNet()
            self.kept = [torch.ones(2, 2)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) @ self.kept[0]

    with pytest.raises(MethodError, match="computes with 4 numbers that are neither parameters nor buffers"):
        require_plain(Secret(), torch.zeros(1, 8, 20))
    require_plain(copy.deepcopy(ProbeNet()), torch.zeros(1, 8, 20))

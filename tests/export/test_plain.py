"""A finished model is plain: it computes with its own parameters and buffers alone."""

import copy
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

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


class Pair(ProbeNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x), 1  # type: ignore[return-value]


def sparse(model: ProbeNet) -> nn.Module:
    model.head.weight = nn.Parameter(model.head.weight.detach().to_sparse())
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own code
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.double(), r"computes in torch.float64 \(stem.0.weight\): return it as float32"),
        (lambda model: model.half(), r"computes in torch.float16"),
        (sparse, r"has sparse weights \(head.weight\)"),
        (lambda model: nn.Sequential(OrderedDict(_orig_mod=model)), "was compiled: return the module"),
        (lambda model: quantize_dynamic(model, {nn.Linear}), r"integer layers of PyTorch \(head\)"),
        (lambda model: model.to("meta"), "lies on meta"),
        (lambda model: Pair(), "returns tuple, expected one tensor"),
    ],
)
def test_what_is_not_plain_is_named_with_what_to_do(change: Callable[[ProbeNet], nn.Module], said: str) -> None:
    with pytest.raises(MethodError, match=said):
        require_plain(change(ProbeNet()), torch.zeros(1, 8, 20))

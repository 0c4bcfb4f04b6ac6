"""Kernels of ONNX Runtime find the layer that they compute, whatever they were fused with."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.export.layers import layer_latency_ms
from bench.export.model import export_onnx
from tasks.antispoof import Antispoof
from tasks.vad import Vad


class Nested(nn.Module):
    """A list of sequences, a parallel branch, and a sum that a convolution is fused with."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.parts = nn.ModuleList(nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())) for _ in range(2))
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for part in self.parts:
            x = (part(x) + x).relu()
        return self.out(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Nested(), torch.zeros(1, 1, 16, 16)),
        (Antispoof(model="resnet10").build_model(), Antispoof().example_input()),  # blocked convolutions lose names
        (Vad(model="crnn").build_model(), Vad().example_input()),
        (Vad(model="transformer").build_model(), Vad().example_input()),
    ],
    ids=["nested", "resnet10", "crnn", "transformer"],
)
def test_every_layer_has_its_kernels(model: nn.Module, inputs: Tensor) -> None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.GRU, nn.MultiheadAttention)
    layers = {name for name, module in model.named_modules() if isinstance(module, kinds)}
    layers -= {name for name in layers if name.endswith("out_proj")}  # attention does not call it
    spent = layer_latency_ms(export_onnx(model, inputs), inputs, layers)
    assert layers and spent.keys() - {""} == layers
    assert min(spent.values()) > 0


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, inputs = nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 4)
    assert layer_latency_ms(export_onnx(model, inputs), inputs, {"0"})["0"] > 0
    assert not list(tmp_path.iterdir())

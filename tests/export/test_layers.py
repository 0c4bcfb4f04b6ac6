"""Kernels of ONNX Runtime find the layer that they compute, whatever they were fused with."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import Batch, Widths
from bench.export.layers import layer_latency_ms, weighty_layers
from bench.export.model import export_onnx
from methods._integer import quantized
from tasks.antispoof import Antispoof
from tasks.vad import Vad


class Nested(nn.Module):
    """A list of sequences, a parallel branch, and a sum that a convolution is fused with."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.parts = nn.ModuleList(nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())) for _ in range(2))
        self.hidden, self.out = nn.Linear(8, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for part in self.parts:
            x = (part(x) + x).relu()
        return self.out(self.hidden(x.mean((2, 3))).relu())


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Nested(), torch.zeros(1, 1, 16, 16)),
        (Antispoof(model="resnet10").build_model(), Antispoof().example_input()),  # blocked convolutions lose names
        (Vad(model="crnn").build_model(), Vad().example_input()),
        (Vad(model="transformer").build_model(), Vad().example_input()),
        (Vad(model="causal").build_model(), Vad().example_input()),
    ],
    ids=["nested", "resnet10", "crnn", "transformer", "causal"],
)
def test_every_layer_has_its_kernels(model: nn.Module, inputs: Tensor) -> None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.GRU, nn.MultiheadAttention)
    layers = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    layers = [name for name in layers if not name.endswith("out_proj")]  # attention does not call it
    spent = layer_latency_ms(export_onnx(model, inputs), inputs, layers)
    assert layers and [layer for layer in spent if layer] == layers
    assert min(spent.values()) > 0


def test_a_model_that_reads_some_bands_only_has_the_layers_of_the_dense_one() -> None:
    network, example = Antispoof().build_model(), Antispoof().example_input()
    widths = Widths(network, example, input_axis=Antispoof.input_width_axis)
    small = widths.keep({name: torch.arange(size // 2) for name, size in widths.sizes.items()})
    spent = layer_latency_ms(export_onnx(small, example), example, layers := weighty_layers(network))
    assert spent.keys() - {""} == {*layers}


class Wrapper(nn.Module):
    """Holds its network under the name that a model which reads some bands only holds it under."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def test_a_wrapper_of_ones_own_keeps_its_names() -> None:
    file = export_onnx(Wrapper(), torch.zeros(1, 4))
    assert layer_latency_ms(file, torch.zeros(1, 4), ["model.0"])["model.0"] > 0


def test_integer_kernels_find_their_layers_too() -> None:
    network = Antispoof(model="resnet10").build_model()
    layers, example = weighty_layers(network), Antispoof().example_input()
    batches = [Batch(torch.randn(4, *example.shape[1:]), torch.zeros(4)) for _ in range(2)]
    integer = quantized(export_onnx(network, example), batches, lambda said: None)
    spent = layer_latency_ms(integer, example, layers)
    assert len(layers) > 5 and spent.keys() - {""} == {*layers}


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, inputs = nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 4)
    assert layer_latency_ms(export_onnx(model, inputs), inputs, {"0"})["0"] > 0
    assert not list(tmp_path.iterdir())

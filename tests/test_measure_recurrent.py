"""Recurrent layers, attention and whole speech models: counted, exported with free axes, counted again in the file."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import glu, multi_head_attention_forward
from torch.utils.flop_counter import FlopCounterMode
from torchaudio.models import Conformer, DeepSpeech, Wav2Letter

from bench import BenchError
from bench.export.attention import PlainAttention
from bench.export.costs import file_costs
from bench.export.model import Predictor, export_onnx
from bench.widths.cost import count_macs


class Recurrent(nn.Module):
    """One recurrent stack: (B, I, T) -> (B, T, H)."""

    def __init__(self, kind: type[nn.RNNBase], *sizes: int, time_first: bool = False, **options: Any) -> None:
        super().__init__()
        self.time_first = time_first
        self.rnn = kind(*sizes, batch_first=not time_first, **options)

    def forward(self, x: Tensor) -> Tensor:
        if self.time_first:
            return self.rnn(x.permute(2, 0, 1))[0].transpose(0, 1)
        return self.rnn(x.transpose(1, 2))[0]


class Crnn(nn.Module):
    """Convolution, two recurrent layers and a linear layer frame by frame: (B, 4, T) -> (B, T / 2, 3)."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 5, stride=2, padding=2)
        self.rnn = nn.GRU(8, 12, 2, batch_first=True, **options)
        self.head = nn.Linear(24 if options.get("bidirectional") else 12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.conv(x).relu().transpose(1, 2))[0])


class OneLayerAtATime(nn.Module):
    """Both directions of a recurrent layer as layers of their own, one of them behind flips: (B, 4, T) -> (B, T, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.GRU(4, 6), nn.GRU(4, 6), nn.GRU(12, 5)])

    def forward(self, x: Tensor) -> Tensor:
        def run(layer: Any, x: Tensor, function: Callable[..., Any]) -> Tensor:
            start = x.new_zeros(1, x.shape[0], layer.hidden_size)
            return function(x, start, list(layer.parameters()), True, 1, 0.0, False, False, True)[0]

        x = x.transpose(1, 2)
        back = run(self.layers[1], x.flip(1), torch._VF.gru).flip(1)
        return run(self.layers[2], torch.cat([run(self.layers[0], x, torch.gru), back], 2), torch.gru)


class AttentionBlock(nn.Module):
    """A Transformer block put together by hand: (B, 12, T) -> (B, T, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(12), nn.LayerNorm(12)])
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.inner, self.outer = nn.Linear(12, 20), nn.Linear(20, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.outer(nn.functional.gelu(self.inner(self.norms[1](x))))


class Encoder(nn.Module):
    """PyTorch's own encoder: (B, 12, T) -> (B, T, 12)."""

    def __init__(self, layers: int, **options: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True, **options)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x.transpose(1, 2))


class Grouped(nn.Module):
    """Grouped, depthwise and transposed convolutions behind a gate and a group norm: (B, 4, T) -> (B, 6, 2T - 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv1d(4, 16, 3, groups=2)
        self.norm = nn.GroupNorm(2, 8)
        self.depthwise = nn.Conv1d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose1d(8, 6, 4, 2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.depthwise(self.norm(glu(self.grouped(x), 1))))


class Speech(nn.Module):
    """A model of torchaudio on (B, bands, T), without the lengths of padded utterances."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.model, DeepSpeech):
            return self.model(x.transpose(1, 2).unsqueeze(1))
        if isinstance(self.model, Conformer):  # its forward() writes the longest length of a batch into the trace
            y = x.permute(2, 0, 1)
            for layer in self.model.conformer_layers:
                y = layer(y, None)
            return y.transpose(0, 1)
        return self.model(x)


def encoder_macs(layers: int, t: int) -> int:
    return layers * (4 * t * 12 * 12 + 2 * t * t * 12 + 2 * t * 12 * 20)


def conformer_macs(t: int) -> int:
    """Two feed-forwards of 32, attention, and a convolution module with kernel 7, on 16 features; twice."""
    return 2 * (4 * t * 16 * 32 + 4 * t * 16 * 16 + 2 * t * t * 16 + t * 16 * 32 + t * 16 * 7 + t * 16 * 16)


#: model, features of the input, MACs for T frames by hand
MODELS: dict[str, tuple[Callable[[], nn.Module], int, Callable[[int], int]]] = {
    "gru": (lambda: Recurrent(nn.GRU, 4, 6), 4, lambda t: t * 3 * 6 * (4 + 6)),
    "gru-stack": (lambda: Recurrent(nn.GRU, 4, 6, 2, time_first=True), 4, lambda t: t * 3 * 6 * (4 + 6 + 6 + 6)),
    "gru-split": (OneLayerAtATime, 4, lambda t: t * (2 * 3 * 6 * (4 + 6) + 3 * 5 * (12 + 5))),
    "lstm": (lambda: Recurrent(nn.LSTM, 4, 6, bias=False), 4, lambda t: t * 4 * 6 * (4 + 6)),
    "lstm-both": (
        lambda: Recurrent(nn.LSTM, 4, 6, 2, bidirectional=True),
        4,
        lambda t: t * 2 * 4 * 6 * (4 + 6 + 12 + 6),
    ),
    "rnn-both": (
        lambda: Recurrent(nn.RNN, 4, 6, 2, nonlinearity="relu", bidirectional=True),
        4,
        lambda t: t * 2 * 6 * (4 + 6 + 12 + 6),
    ),
    "crnn": (Crnn, 4, lambda t: (t // 2) * (4 * 8 * 5 + 3 * 12 * (8 + 12 + 12 + 12) + 12 * 3)),
    "crnn-both": (
        lambda: Crnn(bidirectional=True),
        4,
        lambda t: (t // 2) * (4 * 8 * 5 + 2 * 3 * 12 * (8 + 12 + 24 + 12) + 24 * 3),
    ),
    "block": (AttentionBlock, 12, lambda t: encoder_macs(1, t)),
    "encoder": (lambda: Encoder(1), 12, lambda t: encoder_macs(1, t)),
    "encoder-3": (lambda: Encoder(3, norm_first=True, activation="gelu"), 12, lambda t: encoder_macs(3, t)),
    "grouped": (Grouped, 4, lambda t: (t - 2) * 16 * 2 * 3 + (t - 4) * 8 * 3 + (t - 4) * 8 * 3 * 4),
    "deepspeech": (
        lambda: Speech(DeepSpeech(20, 16, 7)),
        20,
        lambda t: t * (20 * 16 + 2 * 16 * 16 + 2 * 16 * (16 + 16) + 16 * 16 + 16 * 7),
    ),
    "conformer": (lambda: Speech(Conformer(16, 4, 32, 2, 7)), 16, conformer_macs),
}


def built(name: str) -> tuple[nn.Module, int, Callable[[int], int]]:
    """The model with weights that all differ; the exporter stores equal ones once."""
    build, features, macs = MODELS[name]
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand_like(parameter) * 0.4 - 0.2001)
    return model, features, macs


@pytest.mark.parametrize("name", MODELS)
def test_model_and_file_cost_what_the_formula_says_at_any_length(name: str) -> None:
    model, features, macs = built(name)
    exported = export_onnx(model, torch.zeros(1, features, 30))
    for frames in (30, 44):
        costs = file_costs(exported, (1, features, frames))
        assert count_macs(model, torch.zeros(1, features, frames)) == macs(frames)
        assert (costs.macs, costs.effective_macs, costs.bops) == (macs(frames), macs(frames), macs(frames) * 1024)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]  # folded into the convolution before
    assert costs.params == sum(p.numel() for p in model.parameters()) - sum(2 * m.num_features for m in norms)


@pytest.mark.parametrize("name", MODELS)
def test_the_file_takes_other_batches_and_lengths(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    model, features, _ = built(name)
    predict = Predictor(export_onnx(model, torch.zeros(1, features, 30)))
    for batch, frames in ((1, 30), (3, 41)):
        x = torch.randn(batch, features, frames)
        with torch.no_grad():
            torch.testing.assert_close(predict(x), model(x), atol=1e-5, rtol=1e-5)
    assert capfd.readouterr() == ("", "")


def test_wav2letter() -> None:
    model = Speech(Wav2Letter(7, "mfcc", 20)).eval()
    for module in model.modules():  # 23 million weights take seconds to export
        if isinstance(module, nn.Conv1d):
            chosen = slice(0, module.out_channels, 50 if module.out_channels > 20 else 1), slice(0, None, 50)
            if module.in_channels == 20:
                chosen = chosen[0], slice(None)
            module.weight = nn.Parameter(module.weight[chosen].clone())
            module.bias = nn.Parameter(module.bias[chosen[0]].clone())
            module.out_channels, module.in_channels = module.weight.shape[:2]
    layers = [m for m in model.modules() if isinstance(m, nn.Conv1d)]
    frames, macs = 60, 0
    for layer in layers:
        frames = (frames + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
        macs += frames * layer.weight.numel()
    assert count_macs(model, torch.zeros(1, 20, 60)) == macs
    assert file_costs(export_onnx(model, torch.zeros(1, 20, 40)), (1, 20, 60)).macs == macs


@pytest.mark.parametrize("name", ["gru-stack", "rnn-both", "crnn-both", "encoder-3", "grouped", "conformer"])
def test_pytorchs_own_counter_agrees(name: str) -> None:
    model, features, _ = built(name)
    x = torch.zeros(1, features, 30)
    with PlainAttention(), FlopCounterMode(display=False) as flops:
        model(x)
    assert count_macs(model, x) * 2 == flops.get_total_flops()


def test_zeros_in_a_recurrent_layer_lower_the_effective_macs() -> None:
    model, _, macs = built("crnn")
    with torch.no_grad():
        model.rnn.weight_ih_l0[:, :3] = 0
        model.rnn.weight_hh_l1.view(-1)[:100] = 0
    costs = file_costs(export_onnx(model, torch.zeros(1, 4, 40)), (1, 4, 40))
    assert costs.macs == macs(40)
    assert costs.effective_macs == macs(40) - 20 * (3 * 36 + 100)
    assert costs.bops == macs(40) * 1024


@pytest.mark.parametrize(
    ("equation", "macs"), [("bit,bjt->bij", 4 * 4 * 9), ("bit,bit->bi", 4 * 9), ("bit,bit->bit", 0), ("bit->bti", 0)]
)
def test_einsum(equation: str, macs: int) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum(equation, *[x] * (1 + equation.count(",")))

    assert count_macs(Model(), torch.zeros(1, 4, 9)) == macs
    assert file_costs(export_onnx(Model(), torch.zeros(1, 4, 5)), (1, 4, 9)).macs == macs


def test_an_einsum_of_unknown_cost_is_named() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bit,bjt,bkt->bijk", x, x, x)

    with pytest.raises(BenchError, match="bit,bjt,bkt->bijk"):
        file_costs(export_onnx(Model(), torch.zeros(1, 4, 5)), (1, 4, 5))


ATTENTION = {
    "plain": {},
    "weights of each head": {"average_attn_weights": False},
    "no weights": {"need_weights": False},
    "pairs": {"attn_mask": torch.ones(7, 7, dtype=torch.bool).triu(1)},
    "pairs added": {"attn_mask": torch.randn(7, 7)},
    "pairs of each head": {"attn_mask": torch.randn(3 * 2, 7, 7)},
    "causal": {"attn_mask": nn.Transformer.generate_square_subsequent_mask(7), "is_causal": True},
    "padding": {"key_padding_mask": torch.arange(7).expand(3, 7) > 4},
    "both": {
        "attn_mask": torch.ones(7, 7, dtype=torch.bool).triu(1),
        "key_padding_mask": torch.arange(7).expand(3, 7) > 4,
    },
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}, {"kdim": 8, "vdim": 8}])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_as_it_is_exported_computes_what_pytorchs_does(
    name: str, options: dict[str, Any], batch_first: bool
) -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    x = torch.randn(3, 7, 8) if batch_first else torch.randn(7, 3, 8)
    for others in ((x, x), (x.flip(0), x + 1)):
        with torch.no_grad():
            expected, expected_weights = model(x, *others, **ATTENTION[name])
            with PlainAttention():
                found, weights = model(x, *others, **ATTENTION[name])
        torch.testing.assert_close(found, expected)
        if name != "no weights":
            torch.testing.assert_close(weights, expected_weights)


def test_exporting_leaves_attention_as_it_was() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    for chosen in (False, True):
        torch.backends.mha.set_fastpath_enabled(chosen)
        with pytest.raises(RuntimeError, match="broken"):
            export_onnx(Broken(), torch.zeros(1, 3))
        export_onnx(nn.Linear(3, 2), torch.zeros(1, 3))
        assert torch.backends.mha.get_fastpath_enabled() is chosen
    assert multi_head_attention_forward is nn.functional.multi_head_attention_forward

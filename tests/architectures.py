"""Networks of every kind of layer that the width graph knows, and networks that nobody here wrote."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchaudio.models import Conformer, DeepSpeech, Wav2Letter


def narrow_wav2letter() -> nn.Module:
    """torchaudio's network, which has no option for its widths of up to 2000, at an eighth of them."""
    model = Wav2Letter(5, "mfcc", 10)
    for module in list(model.modules()):
        for name, conv in list(module.named_children()):
            if isinstance(conv, nn.Conv1d):
                inputs, outputs = (n // 8 if n > 200 else n for n in (conv.in_channels, conv.out_channels))
                setattr(module, name, nn.Conv1d(inputs, outputs, conv.kernel_size, conv.stride, conv.padding))
    return model


class Recurrent(nn.Module):
    """A convolution over time, two recurrent layers, a linear layer: (B, 10, T) -> (B, T - 2)."""

    def __init__(self, kind: type[nn.RNNBase], *, layers: int = 2, bidirectional: bool = False) -> None:
        super().__init__()
        self.front = nn.Conv1d(10, 8, 3)
        self.memory = kind(8, 6, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(6 * (1 + bidirectional), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(self.front(x).relu().transpose(1, 2))[0]).squeeze(-1)


class AttentionBlock(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and around a residual stream: (B, T, d) -> (B, T, d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 3, batch_first=True)
        self.second_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 20)
        self.down = nn.Linear(20, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first_norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.second_norm(x))))


class Transformer(nn.Module):
    """A convolution for positions, blocks of attention: (B, 10, T) -> (B, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(10, 12)
        self.positions = nn.Conv1d(12, 12, 3, padding=1, groups=12)
        self.blocks = nn.ModuleList([AttentionBlock(12) for _ in range(2)])
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(x.transpose(1, 2))
        y = y + self.positions(y.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y)).squeeze(-1)


class Encoder(nn.Module):
    """PyTorch's own transformer encoder: (B, 10, T) -> (B, T, 2)."""

    def __init__(self, *, norm_first: bool, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.project = nn.Linear(10, 12)
        layer = nn.TransformerEncoderLayer(12, 3, 20, norm_first=norm_first, batch_first=batch_first)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(x.transpose(1, 2))
        if self.batch_first:
            return self.head(self.layers(y))
        return self.head(self.layers(y.transpose(0, 1))).transpose(0, 1)


class Grouped(nn.Module):
    """Grouped, depthwise, multiplied and transposed convolutions: (B, 4, T) -> (B, 2, T')."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(4, 12, 3, padding=1)
        self.grouped = nn.Conv1d(12, 24, 3, groups=4, padding=1)
        self.norm = nn.BatchNorm1d(24)
        self.depthwise = nn.Conv1d(24, 48, 3, groups=24)
        self.mix = nn.Conv1d(48, 6, 1)
        self.wider = nn.ConvTranspose1d(6, 5, 2, stride=2)
        self.head = nn.Conv1d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.grouped(self.front(x).relu())).relu()
        return self.head(self.wider(self.mix(self.depthwise(y)).relu()).relu())


class SpeechConformer(nn.Module):
    """torchaudio's Conformer between two linear layers: (B, 10, T) -> (B, T, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(10, 16)
        self.conformer = Conformer(16, 4, 24, 2, 5)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((x.shape[0],), x.shape[2])
        return self.head(self.conformer(self.project(x.transpose(1, 2)), lengths)[0])


class Bottleneck(nn.Module):
    """The block of ResNet50 and of ResNeXt (He et al. 2015, arXiv 1512.03385): (B, C, H, W) -> (B, C', H', W')."""

    def __init__(self, inputs: int, inner: int, stride: int, groups: int) -> None:
        super().__init__()
        outputs = 2 * inner
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.identity = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
        return (y + (x if self.identity else self.downsample(x))).relu()


def torchvision_resnet(groups: int = 1) -> nn.Sequential:
    """Stem with pooling, bottleneck blocks, global average, linear layer: (B, 3, H, W) -> (B, 5)."""
    stem = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    shapes = [(8, 8, 1), (16, 8, 1), (16, 16, 2), (32, 16, 1)]
    blocks = [Bottleneck(*shape, groups) for shape in shapes]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))


Build = Callable[[], nn.Module]

#: name -> (model, shape of one input, axis of the input that may be narrowed)
ARCHITECTURES: dict[str, tuple[Build, tuple[int, ...], int | None]] = {
    "gru": (lambda: Recurrent(nn.GRU), (1, 10, 12), 1),
    "gru both ways": (lambda: Recurrent(nn.GRU, bidirectional=True), (1, 10, 12), None),
    "lstm both ways": (lambda: Recurrent(nn.LSTM, bidirectional=True), (1, 10, 12), 1),
    "one rnn": (lambda: Recurrent(nn.RNN, layers=1), (1, 10, 12), 1),
    "transformer": (Transformer, (1, 10, 12), 1),
    "encoder, norm first": (lambda: Encoder(norm_first=True, batch_first=True), (1, 10, 12), 1),
    "encoder, norm last": (lambda: Encoder(norm_first=False, batch_first=True), (1, 10, 12), None),
    "encoder, time first": (lambda: Encoder(norm_first=True, batch_first=False), (1, 10, 12), None),
    "grouped": (Grouped, (1, 4, 20), None),
    "torchaudio DeepSpeech": (lambda: DeepSpeech(10, 16, n_class=5), (1, 1, 12, 10), None),
    "torchaudio Wav2Letter": (narrow_wav2letter, (1, 10, 60), None),
    "torchaudio Conformer": (SpeechConformer, (1, 10, 12), 1),
    "torchvision-style ResNet": (torchvision_resnet, (1, 3, 32, 32), None),
    "torchvision-style ResNeXt": (lambda: torchvision_resnet(4), (1, 3, 32, 32), None),
}

"""Gates on the features of a model: attached to the layers that consume them, for as long as a context lasts."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from bench.errors import BenchError, said
from bench.widths.flexible import RECURRENT, FlexibleAttention
from bench.widths.groups import CONVOLUTIONS, Group, Part

#: (features (B, n, ...), channels (n,)) -> features of the same shape; ``channels`` says which channel of the group
#: stands at each of the n positions, so that coefficients c of shape (B, size) apply as ``c[:, channels]``
Gate = Callable[[Tensor, Tensor], Tensor]

#: channels (n,) -> how far each of them is alive, 0 to 1, shape (B, n) or (1, n)
Live = Callable[[Tensor], Tensor]


def batch_axes(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    """Which axis of each layer's input the examples of a batch lie along; 0 unless two batches show another."""
    try:
        two, three = (_input_shapes(model, torch.cat([example_input] * examples)) for examples in (2, 3))
    except Exception as error:  # of somebody else's code
        raise BenchError(
            f"{type(model).__name__} computes with a batch of one, but not of two or three "
            f"({said(error)}): let its shapes follow from the input, as in x.view(x.shape[0], -1)"
        ) from error
    return {
        name: next((i for i, (a, b) in enumerate(zip(shape, three[name], strict=True)) if 3 * a == 2 * b), 0)
        for name, shape in two.items()
        if len(shape) == len(three.get(name, ()))
    }


def _input_shapes(model: nn.Module, batch: Tensor) -> dict[str, torch.Size]:
    seen: dict[str, torch.Size] = {}

    def look(name: str, module: nn.Module, inputs: tuple[object, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            seen.setdefault(name, inputs[0].shape)

    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(partial(look, name)).remove)
        model(batch)
    return seen


@contextmanager
def gated(  # noqa: PLR0917
    model: nn.Module,
    axes: Mapping[str, int],
    normalised: Mapping[str, int],
    groups: Sequence[Group],
    gates: Mapping[str, Gate],
    live: Mapping[str, Live],
) -> Iterator[None]:
    """While this lasts, gates act on the consumers of groups, and LayerNorms take statistics over what is alive.

    ``axes`` are those of ``batch_axes``, ``normalised`` the axis of their input that norms take statistics over, by
    layer; gates and live are by name of the group.
    """
    consumers, norms = defaultdict(list), defaultdict(list)
    for group in groups:
        for part in group.consumers if group.name in gates else ():
            consumers[part.layer].append((part, gates[group.name]))
        for part in group.parts if group.name in live else ():
            if part.parameter == "weight" and isinstance(model.get_submodule(part.layer), nn.LayerNorm):
                norms[part.layer].append((part, live[group.name]))
    with ExitStack() as stack:
        for name, own in consumers.items():
            _attach(model.get_submodule(name), own, axes.get(name, 0), stack)
        for name, alive in norms.items():
            hook = _live_statistics(alive, (axes.get(name, 0), normalised.get(name, -1)))
            stack.callback(model.get_submodule(name).register_forward_hook(hook).remove)
        yield


def _attach(layer: nn.Module, parts: Sequence[tuple[Part, Gate]], batch_axis: int, stack: ExitStack) -> None:
    if isinstance(layer, (*RECURRENT, FlexibleAttention)):  # these gate by themselves
        weights = {part.parameter for part, _ in parts}
        layer.gates = {w: _through([own for own in parts if own[0].parameter == w], 0, -1) for w in weights}
        stack.callback(delattr, layer, "gates")
    else:
        gate = _through(parts, batch_axis, 1 if isinstance(layer, CONVOLUTIONS) else -1)
        hook = layer.register_forward_pre_hook(lambda module, inputs: (gate(inputs[0]), *inputs[1:]))
        stack.callback(hook.remove)


def _through(parts: Sequence[tuple[Part, Gate]], batch_axis: int, channel_axis: int) -> Callable[[Tensor], Tensor]:
    """What sends features, or the columns of a recurrent weight (rows, n), through the gates of its parts."""
    axes = (batch_axis, channel_axis)

    def through(x: Tensor) -> Tensor:
        for part, gate in parts:
            positions, channels = _placed(part, x.device)
            features = x.movedim(axes, (0, 1))
            if len(positions) == features.shape[1]:
                features = gate(features, channels)
            else:
                features = features.index_copy(1, positions, gate(features[:, positions], channels))
            x = features.movedim((0, 1), axes)
        return x

    return through


@lru_cache(maxsize=1024)
def _placed(part: Part, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions and channels on the device that the model is on."""
    return part.positions.to(device), part.channels.to(device)


def _live_statistics(
    alive: Sequence[tuple[Part, Live]], axes: tuple[int, int]
) -> Callable[[nn.LayerNorm, tuple[Tensor, ...], Tensor], Tensor]:
    """A LayerNorm as it will be once the dead features are gone: they do not count in mean and variance.

    ``axes`` are those of the batch and of the channels: some LayerNorms of others turn the channels to the end first.
    """

    def hook(module: nn.LayerNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0].movedim(axes, (0, -1))
        placed = [(_placed(part, x.device), of) for part, of in alive]
        weights = [(positions, of(channels)) for (positions, channels), of in placed]
        examples = max(len(w) for _, w in weights)
        counts = x.new_ones(examples, x.shape[-1])
        for positions, weight in weights:
            counts = counts.index_copy(1, positions, weight.to(counts).expand(examples, -1))
        counts = counts.view(examples, *[1] * (x.dim() - 2), -1)
        total = counts.sum(-1, keepdim=True).clamp(min=1e-6)  # all may be dead
        centred = x - (counts * x).sum(-1, keepdim=True) / total
        variance = (counts * centred.square()).sum(-1, keepdim=True) / total
        scaled = centred * (variance + module.eps).rsqrt() * module.weight
        return (scaled if module.bias is None else scaled + module.bias).movedim((0, -1), axes)

    return hook

"""Gates on the features of a model while it runs: attached where they are consumed, and gone without a trace."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from bench.widths.flexible import RECURRENT, FlexibleAttention
from bench.widths.groups import Group, Member

#: (features (B, n, ...), channels (n,)) -> features of the same shape; ``channels`` says which channel of the group
#: stands at each of the n positions, so that coefficients c of shape (B, size) apply as ``c[:, channels]``
Gate = Callable[[Tensor, Tensor], Tensor]

#: channels (n,) -> how far each of them is alive, 0 to 1, shape (B, n) or (1, n)
Live = Callable[[Tensor], Tensor]

GatedMember = tuple[Member, Gate]


def batch_axes(model: nn.Module, example_input: Tensor) -> dict[str, int]:
    """Which axis of each layer's input the examples of a batch lie along; 0 unless two runs show another."""
    shapes: list[dict[str, torch.Size]] = []
    for examples in (2, 3):
        seen: dict[str, torch.Size] = {}

        def look(name: str, seen: dict[str, torch.Size], module: nn.Module, inputs: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                seen.setdefault(name, inputs[0].shape)

        hooks = [module.register_forward_pre_hook(partial(look, name, seen)) for name, module in model.named_modules()]
        with torch.no_grad():
            model(torch.cat([example_input] * examples))
        for hook in hooks:
            hook.remove()
        shapes.append(seen)
    return {
        name: next((i for i, (a, b) in enumerate(zip(two, shapes[1][name], strict=True)) if 3 * a == 2 * b), 0)
        for name, two in shapes[0].items()
        if len(two) == len(shapes[1].get(name, ()))
    }


@dataclass(frozen=True)
class Wiring:
    """Where gates can be attached to a model.

    Attributes:
        model: of flexible layers.
        norms: for each LayerNorm the groups it goes over: group, positions (n,), channels (n,).
        batch_axes: the axis of the examples in each layer's input.
    """

    model: nn.Module
    norms: Mapping[str, Sequence[tuple[Group, Tensor, Tensor]]]
    batch_axes: Mapping[str, int]

    @contextmanager
    def gated(self, groups: Sequence[Group], gates: Mapping[str, Gate], live: Mapping[str, Live]) -> Iterator[None]:
        """Gates on the consumers of groups, and LayerNorms that take statistics over what is alive, by group."""
        parts: dict[str, list[GatedMember]] = {}
        for group in groups:
            for member in group.consumers if group.name in gates else ():
                parts.setdefault(member.layer, []).append((member, gates[group.name]))
        with ExitStack() as stack:
            for name, own in parts.items():
                self._attach(name, own, stack)
            for name, carried in self.norms.items():
                alive = [(positions, channels, live[g.name]) for g, positions, channels in carried if g.name in live]
                if alive:
                    hook = _live_statistics(alive, self.batch_axes.get(name, 0))
                    stack.callback(self.model.get_submodule(name).register_forward_hook(hook).remove)
            yield

    def _attach(self, name: str, parts: Sequence[GatedMember], stack: ExitStack) -> None:
        layer = self.model.get_submodule(name)
        if isinstance(layer, (*RECURRENT, FlexibleAttention)):  # these gate by themselves
            weights = {member.parameter for member, _ in parts}
            layer.gates = {w: _weight_gate([part for part in parts if part[0].parameter == w]) for w in weights}
            stack.callback(delattr, layer, "gates")
        else:
            channel_axis = -1 if isinstance(layer, nn.Linear) else 1
            hook = _hook(parts, self.batch_axes.get(name, 0), channel_axis)
            stack.callback(layer.register_forward_pre_hook(hook).remove)


def _hook(parts: Sequence[GatedMember], batch_axis: int, channel_axis: int) -> Callable[..., tuple[Tensor, ...]]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (reduce(lambda x, part: _applied(x, part, batch_axis, channel_axis), parts, inputs[0]), *inputs[1:])

    return hook


def _weight_gate(parts: Sequence[GatedMember]) -> Callable[[Tensor], Tensor]:
    """For layers that gate by themselves: features (B, T, n), or columns of a recurrent weight (rows, n)."""
    return lambda x: reduce(lambda x, part: _applied(x, part, 0, -1), parts, x)


def _applied(x: Tensor, part: GatedMember, batch_axis: int, channel_axis: int) -> Tensor:
    member, gate = part
    positions, channels = _placed(member, x.device)
    axes = (batch_axis, channel_axis)
    features = x.movedim(axes, (0, 1))
    if len(positions) == features.shape[1]:
        features = gate(features, channels)
    else:
        features = features.index_copy(1, positions, gate(features[:, positions], channels))
    return features.movedim((0, 1), axes)


@lru_cache(maxsize=1024)
def _placed(member: Member, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions and channels of a member on the device that the model is on."""
    return member.positions.to(device), member.channels.to(device)


def _live_statistics(
    alive: Sequence[tuple[Tensor, Tensor, Live]], batch_axis: int
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """A LayerNorm as it will be once the dead features are gone: they do not count in mean and variance."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.LayerNorm)
        x = inputs[0].movedim(batch_axis, 0)
        weights = [(positions.to(x.device), of(channels.to(x.device))) for positions, channels, of in alive]
        examples = max(len(w) for _, w in weights)
        counts = x.new_ones(examples, x.shape[-1])
        for positions, weight in weights:
            counts = counts.index_copy(1, positions, weight.to(counts).expand(examples, -1))
        counts = counts.view(examples, *[1] * (x.dim() - 2), -1)
        total = counts.sum(-1, keepdim=True)
        mean = (counts * x).sum(-1, keepdim=True) / total
        centred = x - mean
        variance = (counts * centred.square()).sum(-1, keepdim=True) / total
        normal = centred * (variance + module.eps).rsqrt()
        scaled = normal * module.weight
        return (scaled if module.bias is None else scaled + module.bias).movedim(0, batch_axis)

    return hook

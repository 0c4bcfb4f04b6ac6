"""Training behind the rounding that an integer form will have; gradients pass straight through (arXiv 1308.3432)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear  # that of attention's results, time first
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations
from torch.utils.hooks import RemovableHandle

from bench import make_flexible
from methods._integer import Trained

FIXED = (nn.Conv1d, nn.Conv2d, nn.Conv3d)  # read features between fixed ranges, in a static model linear layers too
MOMENTUM = 0.1  # of the ranges that features were seen in


class _Weight(nn.Module):
    """Rounds a weight to 8 bits, for each output channel."""

    def __init__(self, active: Callable[[], bool]) -> None:
        super().__init__()
        self.active = active

    def forward(self, weight: Tensor) -> Tensor:
        if not self.active():
            return weight
        scale = weight.detach().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        return torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros_like(scale), 0, -127, 127)


class Simulation:
    """Rounds what a model's integer form will round, for as long as it is not folded.

    Weights of convolutions, linear, recurrent and attention layers are rounded for each output channel. Features that
    convolutions read (in a ``static`` model linear layers too) are rounded within the range that was seen lately; those
    that others read within the range of the example, as ONNX Runtime finds it when it runs.

    Args:
        model: left in its flexible form.
        active: whether anything is rounded yet.
        static: whether linear layers read features between fixed ranges.
    """

    def __init__(self, model: nn.Module, active: Callable[[], bool], *, static: bool) -> None:
        make_flexible(model)
        self._model, self._active = model, active
        self._seen: dict[tuple[nn.Module, str], Tensor] = {}  # lowest and highest lately, and zero between them
        self._probed: dict[tuple[nn.Module, str], Tensor] = {}  # lowest and highest in the last pass
        layers = [m for m in model.modules() if isinstance(m, (*FIXED, nn.Linear, nn.RNNBase, nn.MultiheadAttention))]
        self._fixed = [m for m in layers if isinstance(m, FIXED) or (static and isinstance(m, nn.Linear))]
        self._hooks = [hook for layer in layers for hook in self._hooked(layer)]
        if static and self._fixed:  # nothing behind the last one rounds what it makes
            self._hooks.append(self._fixed[-1].register_forward_hook(self._result))
        self._weights = [(m, n) for m in layers for n, p in m.named_parameters(recurse=False) if p.dim() > 1]
        for module, name in self._weights:
            register_parametrization(module, name, _Weight(active))

    def _hooked(self, layer: nn.Module) -> Iterator[RemovableHandle]:
        """What rounds the features that a layer reads; a recurrence reads what integer convolutions have made."""
        if layer in self._fixed or (self._fixed and isinstance(layer, nn.RNNBase)):
            yield layer.register_forward_pre_hook(self._within_seen)
        if layer not in self._fixed and not isinstance(layer, (nn.GRU, nn.RNN)):  # whose kernels read floats
            yield layer.register_forward_pre_hook(self._within_own)

    @torch.no_grad()
    def fold(self, probe: Tensor) -> tuple[Trained, ...]:
        """Leave the rounded weights and nothing else.

        Args:
            probe: an input of the model.

        Returns:
            The ranges that features were trained within, each with what they reach on the probe.
        """
        for module, name in self._weights:
            remove_parametrizations(module, name)
        self._active, self._probed = (lambda: False), {}
        self._model.eval()(probe)
        for hook in self._hooks:
            hook.remove()
        pairs = ((self._seen[place].tolist(), reached.tolist()) for place, reached in self._probed.items())
        return tuple(Trained((ends[0], ends[1]), (reached[0], reached[1])) for ends, reached in pairs)

    def _within_seen(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self._fitted(layer, "input", inputs[0]), *inputs[1:])

    def _result(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self._fitted(layer, "output", output)

    def _fitted(self, layer: nn.Module, at: str, features: Tensor) -> Tensor:
        """The features within the range that was seen lately, which training follows."""
        now = torch.stack(features.detach().aminmax())
        self._probed[layer, at] = now
        now, known = torch.stack([now[0].clamp(max=0), now[1].clamp(min=0)]), self._seen.get((layer, at))
        if known is None or layer.training:
            self._seen[layer, at] = now if known is None else torch.lerp(known, now, MOMENTUM)
        return _rounded(features, *self._seen[layer, at]) if self._active() else features

    def _within_own(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not self._active():
            return inputs
        rounded: dict[int, Tensor] = {}  # attention is given one tensor three times
        time_first = isinstance(layer, NonDynamicallyQuantizableLinear) or not getattr(layer, "batch_first", True)
        for features in inputs:
            if isinstance(features, Tensor) and features.is_floating_point():
                others = [axis for axis in range(features.dim()) if axis != int(time_first)]
                low, high = (end(features.detach(), others, keepdim=True) for end in (torch.amin, torch.amax))
                rounded[id(features)] = _rounded(features, low.clamp(max=0), high.clamp(min=0))
        return tuple(rounded.get(id(features), features) for features in inputs)


def _rounded(features: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The features as one of 256 numbers from low to high, of which one is zero."""
    scale = ((high - low) / 255).clamp(min=1e-12)
    zero = (-low / scale).round()
    steps = (features.detach() / scale).round().add(zero).clamp(0, 255) - zero
    inside = (features >= low) & (features <= high)
    return steps * scale + (features - features.detach()) * inside

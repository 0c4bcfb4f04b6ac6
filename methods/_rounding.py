"""Training behind the rounding that an integer form will have; gradients pass straight through (arXiv 1308.3432)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear  # that of attention's results, time first
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from bench import make_flexible, multiplies_integers
from methods._integer import Ends, Trained, largest_integer, narrow
from methods._step_sizes import LearnedRange, LearnedWeight

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
        learned: whether steps of weights and of fixed ranges are trained; else they follow from the extremes.

    Attributes:
        parameters: what is trained beside the model.
    """

    def __init__(self, model: nn.Module, active: Callable[[], bool], *, static: bool, learned: bool = False) -> None:
        make_flexible(model)
        self._model, self._active = model, active
        self._seen: dict[tuple[nn.Module, str], Tensor] = {}  # lowest and highest lately, and zero between them
        self._probed: dict[tuple[nn.Module, str], Tensor] = {}  # lowest and highest in the last pass
        layers = [m for m in model.modules() if isinstance(m, (*FIXED, nn.Linear, nn.RNNBase, nn.MultiheadAttention))]
        layers = layers[narrow(m.in_channels if isinstance(m, FIXED) else math.inf for m in layers) :]
        self._fixed = [m for m in layers if isinstance(m, FIXED) or (static and isinstance(m, nn.Linear))]
        # a recurrence reads what integer convolutions have made; nothing behind the last layer rounds what it makes
        ranged = [m for m in layers if m in self._fixed or (self._fixed and isinstance(m, nn.RNNBase))]
        places: list[tuple[nn.Module, str]] = [(m, "input") for m in ranged]
        places += [(m, "output") for m in self._fixed[-1:] if static]
        self._learned = {place: LearnedRange() for place in places} if learned else {}
        self._hooks = [m.register_forward_pre_hook(self._within_seen) for m in ranged]
        self._hooks += [m.register_forward_hook(self._result) for m, at in places if at == "output"]
        # kernels of GRUs and plain RNNs read floats
        own = [m for m in layers if m not in self._fixed and not isinstance(m, (nn.GRU, nn.RNN))]
        self._hooks += [m.register_forward_pre_hook(self._within_own) for m in own]
        weights = [(m, n, p) for m in layers for n, p in m.named_parameters(recurse=False) if p.dim() > 1]
        self._weights = [(module, name) for module, name, _ in weights]
        top = largest_integer(not multiplies_integers())
        learned_weights = [LearnedWeight(active, p, top) for _, _, p in weights if learned]
        observed_weights = [_Weight(active) for _ in weights if not learned]
        for (module, name), rounding in zip(self._weights, [*learned_weights, *observed_weights], strict=True):
            register_parametrization(module, name, rounding)
        steps = [w.steps for w in learned_weights] + [r.steps for r in self._learned.values()]
        self.parameters = [each.logarithms for each in steps]

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
        pairs = ((self._ends(place), reached.tolist()) for place, reached in self._probed.items())
        return tuple(Trained(ends, (reached[0], reached[1])) for ends, reached in pairs)

    def _ends(self, place: tuple[nn.Module, str]) -> Ends:
        learned = self._learned.get(place)
        low, high = self._seen[place].tolist()
        return learned.ends if learned is not None and learned.steps.known else (low, high)

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
        if not self._active():
            return features
        rounded = self._learned[layer, at].round if self._learned else _rounded
        return rounded(features, *self._seen[layer, at])

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

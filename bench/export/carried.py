"""What a layer needs of earlier frames, handed to it from outside: for a model that computes chunk by chunk."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench.errors import BenchError
from bench.widths.flexible import attend
from bench.widths.trace import Layer

_RECURRENCES = {"gru": ["hidden"], "rnn_tanh": ["hidden"], "rnn_relu": ["hidden"], "lstm": ["hidden", "cell"]}


class Carried(TorchFunctionMode):
    """While it is active, what a layer needs of earlier frames is what ``states`` say and not what its input says.

    It lies below ``PlainAttention``, which lets all attention compute by ``attend``.

    Attributes:
        whole: whether the input is all there is: nothing is carried, and attention says how far back it sees.
        states: before the chunk, by name; of the first chunk none.
        starts: those before the first chunk.
        left: those after the chunk.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.whole = True
        self.states: dict[str, Tensor] = {}
        self.starts: dict[str, Tensor] = {}
        self.left: dict[str, Tensor] = {}
        self._layers = layers
        self._spans: list[int] = []  # frames that each attention sees, in the order of the calls
        self._calls = 0  # of attention in this chunk
        self._padded: dict[int, tuple[Tensor, Tensor, int]] = {}  # by id: what was padded, with how many zeros before

    def begin(self, states: dict[str, Tensor]) -> None:
        """A chunk follows, before which the states were these."""
        self.whole, self.states, self.left, self._calls, self._padded = False, states, {}, 0, {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is attend:
            return self._attend(*args, **kwargs)
        if name in _RECURRENCES:
            return self._recurrence(func, *args, **kwargs)
        if name == "conv1d":
            return self._conv1d(func, *args, **kwargs)
        result = func(*args, **kwargs)
        if func is functional.pad:
            self._pad(result, *args, **kwargs)
        return result

    def refuse(self, why: str) -> BenchError:
        """Of the layer at work."""
        return refused(self._layers[-1], why)

    def _history(self, what: str, start: Tensor, new: Tensor, *, axis: int, frames: int) -> Tensor:
        """Frames behind those of earlier chunks, of which so many are kept for the next one; ``start``: at first."""
        name = self._name(what)
        both = torch.cat([self.states.get(name, start), new], axis)
        self._leave(name, start, both[(slice(None),) * axis + (slice(-frames, None),)])
        return both

    def _name(self, what: str) -> str:
        """Of a state of the layer at work; a layer may be called again, or have several of a kind."""
        name = f"{self._layers[-1].name}.{what}".lstrip(".")
        number = sum(own.startswith(name) for own in self.left)
        return f"{name}.{number}" if number else name

    def _leave(self, name: str, start: Tensor, state: Tensor) -> None:
        self.starts.setdefault(name, start)
        self.left[name] = state

    def _pad(self, padded: Tensor, x: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> None:
        if x.dim() == 3 and len(pad) == 2 and pad[0] > 0 and pad[1] == 0 and mode == "constant" and not value:
            self._padded[id(padded)] = padded, x, int(pad[0])

    def _conv1d(  # noqa: PLR0917  (PyTorch's own signature)
        self,
        func: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        (stride,), (dilation,) = (own if isinstance(own, (tuple, list)) else (own,) for own in (stride, dilation))
        reach = (weight.shape[2] - 1) * dilation
        if stride != 1:
            raise self.refuse(f"gives one frame for every {stride}")
        if reach and padding not in (0, (0,), [0], "valid"):
            raise self.refuse(
                f"is padded at both ends, so it sees frames to come; functional.pad(x, ({reach}, 0)) first"
            )
        if not self.whole and reach:
            _, x, zeros = self._padded.get(id(x), (x, x, 0))
            x = self._history("frames", x.new_zeros(*x.shape[:2], zeros), x, axis=2, frames=reach)
        return func(x, weight, bias, stride, 0 if reach else padding, dilation, groups)

    def _recurrence(self, func: Any, x: Tensor, hx: Any, *rest: Any) -> Any:
        starts = [hx] if isinstance(hx, Tensor) else list(hx)
        if self.whole:
            return func(x, hx, *rest)
        if not self.states and any(bool(start.any()) for start in starts):
            raise self.refuse("begins with a state that is not zero")
        names = [self._name(what) for what in _RECURRENCES[func.__name__]]
        states = [self.states.get(name, start) for name, start in zip(names, starts, strict=True)]
        output, *ends = func(x, states[0] if isinstance(hx, Tensor) else states, *rest)
        for name, start, end in zip(names, starts, ends, strict=True):
            self._leave(name, start, end)
        return (output, *ends)

    def _attend(
        self, heads: Sequence[Tensor], scale: float, masks: Sequence[Tensor | None], **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        if self.whole:
            self._spans.append(self._span(masks, heads[1].shape[2]))
            return attend(heads, scale, masks, **options)
        span, (q, *others) = self._spans[self._calls], heads
        self._calls += 1
        k, v = (
            self._history(what, x[:, :, :0], x, axis=2, frames=max(1, span - 1))
            for what, x in zip(("keys", "values"), others, strict=True)
        )
        before = k.shape[2] - q.shape[2]
        hidden = _hidden(torch.arange(q.shape[2]) + before, torch.arange(k.shape[2]), span)
        return attend([q, k, v], scale, [hidden, None], **options)

    def _span(self, masks: Sequence[Tensor | None], keys: int) -> int:
        """How many frames a query sees, its own and those before, by the mask of the whole input."""
        pairs, padding = masks
        if pairs is None:
            raise self.refuse("attends to frames to come; give it a mask (attn_mask) that shows the last ones alone")
        seen = ~pairs if pairs.dtype == torch.bool else pairs == 0
        span, frames = int(seen[-1].sum()), torch.arange(keys)
        banded = pairs.shape == (keys, keys) and torch.equal(~seen, _hidden(frames, frames, span))
        hides = pairs.dtype == torch.bool or bool(pairs[~seen].isneginf().all())
        if padding is not None or not banded or not hides:
            raise self.refuse("has a mask that does not show each frame itself and so many before it, and no others")
        if span == keys:
            raise self.refuse(f"attends to all of {keys} frames before, so its state would grow without end")
        return span


def _hidden(queries: Tensor, keys: Tensor, span: int) -> Tensor:
    """Which keys a query does not see, (T, S), by their places in time."""
    age = queries[:, None] - keys
    return (age < 0) | (age >= span)


def refused(layer: Layer, why: str) -> BenchError:
    """What is said of a model that has no streaming form: which layer, and ``why``, as in "it ..."."""
    return BenchError(f"{layer} cannot carry state from chunk to chunk: it {why}")

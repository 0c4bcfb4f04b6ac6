"""Follows channels through one pass of a model: which weights make them, which read them, which share them.

Beside every tensor goes a tensor of the same shape that says for each element which channel it belongs to.
Whatever moves elements (a view, a concatenation, a flip) moves these labels in the same way, so that any wiring is
followed by the operators themselves. Where elements of two tensors meet, their channels are joined: they can only be
kept or removed together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.errors import BenchError
from bench.widths.flexible import FlexibleAttention, unfused_attention

Labels = NDArray[np.int64]

#: no channel at all: time, batch, constants
NONE = 0
#: must stay as it is: inputs and outputs of the model, and whatever is mixed in a way that no removal survives
PINNED = 1


class Atoms:
    """Numbered entries of axes, joined into sets. Entries 0 (no channel) and 1 (pinned) are there from the start."""

    def __init__(self) -> None:
        self._parent = np.array([NONE, PINNED], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int) -> Labels:
        """Numbers for ``count`` entries of their own, shape (count,)."""
        fresh = np.arange(len(self), len(self) + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, fresh])
        return fresh

    def roots(self, entries: Labels) -> Labels:
        """The representative of the set of each entry; pinned sets are represented by ``PINNED``."""
        found = self._parent[entries]
        while not np.array_equal(further := self._parent[found], found):
            found = further
        return found

    def join(self, left: Labels, right: Labels) -> None:
        """Join the sets of entries pairwise; where one side is no channel, nothing happens. Same shapes."""
        pairs = np.stack([self.roots(left.ravel()), self.roots(right.ravel())])
        pairs = pairs[:, (pairs[0] != pairs[1]) & (pairs != NONE).all(0)]
        if not pairs.size:
            return
        for one, other in np.unique(np.sort(pairs, axis=0), axis=1).T:
            low, high = sorted((self._root(one), self._root(other)))
            self._parent[high] = low  # the smaller number wins, so that pinned sets stay so

    def join_all(self, entries: Labels) -> None:
        """Join all these entries into one set."""
        channels = entries[entries != NONE]
        if len(channels):
            self.join(np.full(len(channels), channels[0]), channels)

    def pin(self, entries: Labels) -> None:
        self.join(entries, np.full(entries.shape, PINNED))

    def _root(self, entry: int) -> int:
        while self._parent[entry] != entry:
            entry = int(self._parent[entry])
        return int(entry)


INPUT = "input"

#: (tracer, operator, its result, arguments, keyword arguments): labels the result, joins channels
Handler = Callable[["Tracer", Any, Any, tuple[Any, ...], dict[str, Any]], None]


@dataclass(eq=False)
class Product:
    """A product with a weight: ``unit`` multiply-accumulates for each pair of a read and a made channel."""

    unit: int  # positions times kernel
    weight: str  # name of the parameter; empty for a product of two activations
    read: Labels  # (n,) channels that are summed over; one entry ``NONE`` where that is no axis of channels
    made: Labels  # (m,) channels of the result
    axis: int | None = None  # of the weight, which is summed over; None where it is not one that can be cut


@dataclass
class Trace:
    """What one pass of a model has shown: channels, products by weight and channels, layers that normalise."""

    atoms: Atoms
    axes: dict[tuple[str, int], Labels]  # along every axis of a parameter or buffer, and of the input, (length,)
    products: dict[tuple[str, bytes, bytes], Product] = field(default_factory=dict)
    norms: set[str] = field(default_factory=set)  # names of the layers that normalise over channels

    def add(self, unit: int, weight: str, read: Labels, made: Labels, axis: int | None = None) -> None:
        """Note a ``Product``; the same weights used again (by every step of a recurrence) add up."""
        fresh = Product(0, weight, read, made, axis)
        self.products.setdefault((weight, read.tobytes(), made.tobytes()), fresh).unit += unit


@dataclass(eq=False)
class WeightView:
    """A parameter or buffer as an operator sees it: for each of its axes the channels, in the shape of the view."""

    name: str
    labels: list[Tensor]

    def varying(self, dim: int) -> list[int]:
        """The axes of the parameter whose channels differ along a dimension of the view."""
        return [i for i, label in enumerate(self.labels) if not is_constant(label, [dim])]


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries labels along with every tensor while it is active."""

    def __init__(self, trace: Trace, handlers: Mapping[str, Handler]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = trace
        self.layers: list[tuple[str, str]] = []  # names and types of the layers at work, the innermost last
        self._handlers = handlers
        # the tensor is held too, so that its id stays its own
        self._known: dict[int, tuple[Tensor, Tensor | WeightView]] = {}

    def label(self, tensor: Tensor, labels: Tensor | WeightView) -> None:
        self._known[id(tensor)] = (tensor, labels)

    def of(self, tensor: Tensor) -> Tensor | WeightView:
        """What the elements of a tensor are; no channels unless something was said."""
        known = self._known.get(id(tensor))
        return known[1] if known else all_alike(NONE, tensor.shape)

    def activation(self, tensor: Tensor) -> Tensor:
        """The labels of a tensor that is used as features, even if it is a parameter."""
        labels = self.of(tensor)
        if isinstance(labels, Tensor):
            return labels
        varying = [label for label in labels.labels if not is_constant(label, range(label.dim()))]
        if len(varying) > 1:
            raise BenchError(f"the width graph cannot tell which axis of {labels.name!r} are its channels")
        return varying[0] if varying else all_alike(NONE, tensor.shape)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        names = (name, *(tag.name for tag in func.tags))
        handler = next((self._handlers[n] for n in names if n in self._handlers), None)
        if handler is None:
            operands = [self.of(x) for x in _tensors(args)]
            if any(isinstance(of, WeightView) or bool((of != NONE).any()) for of in operands):
                raise BenchError(
                    f"the width graph does not know the operator {name} (in layer {self._layer()}); "
                    "it can be taught in bench/widths/operators.py"
                )
            return out
        try:
            handler(self, func, out, args, kwargs or {})
        except BenchError as error:
            raise BenchError(f"{error} (in layer {self._layer()})") from error
        return out

    def _layer(self) -> str:
        name, kind = self.layers[-1]
        return f"{kind} {name!r}" if name else kind


def follow(model: nn.Module, example_input: Tensor, input_axis: int | None, handlers: Mapping[str, Handler]) -> Trace:
    """Let a model of flexible layers compute once, in eval mode, and say what became of every channel.

    Args:
        model: of flexible layers.
        example_input: one unit of work.
        input_axis: axis of the input whose entries are channels; None pins the whole input.
        handlers: by name of the operator or of one of its tags.

    Raises:
        BenchError: an operator that the graph does not know touched channels; the message names it and its layer.
    """
    atoms = Atoms()
    tensors = {n: t for n, t in (*model.named_parameters(), *model.named_buffers()) if t.dim()}
    axes = {(n, i): atoms.new(length) for n, t in tensors.items() for i, length in enumerate(t.shape)}
    trace = Trace(atoms, axes)
    _join_heads(model, trace)
    tracer = Tracer(trace, handlers)
    for name, tensor in tensors.items():
        tracer.label(tensor, WeightView(name, [along(axes[name, i], i, tensor.shape) for i in range(tensor.dim())]))
    x = example_input.clone()
    entries = all_alike(PINNED, x.shape)
    if input_axis is not None:
        axes[INPUT, input_axis] = atoms.new(x.shape[input_axis])
        entries = along(axes[INPUT, input_axis], input_axis, x.shape)
    tracer.label(x, entries)
    with (  # recurrences and attention compute by the products that they consist of, not by one fused operator
        unfused_attention(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        torch.no_grad(),
        _named_layers(model, tracer.layers),
        tracer,
    ):
        outputs = model(x)
    for output in _tensors(outputs):
        atoms.pin(tracer.activation(output).contiguous().numpy())
    return trace


def _join_heads(model: nn.Module, trace: Trace) -> None:
    """All rows of the projections that belong to one head of an attention layer are one channel."""
    for name, module in model.named_modules():
        if isinstance(module, FlexibleAttention):
            rows = [trace.axes[f"{name}.{weight}".lstrip("."), 0] for weight in module.projections()]
            by_head = np.concatenate(rows).reshape(3, -1, module.head_dim)
            for head in range(by_head.shape[1]):
                trace.atoms.join_all(by_head[:, head].ravel())


def all_alike(label: int, shape: Iterable[int]) -> Tensor:
    """The same label for every element of a tensor of this shape."""
    return torch.full((), label).expand(torch.Size(shape))


def along(atoms: Labels, dim: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Labels of a tensor whose channels lie along one dimension, shape ``shape``."""
    view = [1] * len(shape)
    view[dim] = len(atoms)
    return torch.from_numpy(atoms).view(view).expand(shape)


def compact(labels: Tensor, dims: Any = None) -> Tensor:
    """The labels without repetition along the dimensions that were merely expanded."""
    for dim in range(labels.dim()) if dims is None else dims:
        if labels.stride(dim) == 0 and labels.shape[dim] > 1:
            labels = labels.narrow(dim, 0, 1)
    return labels


def is_constant(labels: Tensor, dims: Any) -> bool:
    """Whether labels are the same all along these dimensions."""
    labels = compact(labels)
    return all(labels.shape[dim] == 1 or bool((labels == labels.narrow(dim, 0, 1)).all()) for dim in dims)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


@contextmanager
def _named_layers(model: nn.Module, layers: list[tuple[str, str]]) -> Iterator[None]:
    """While this lasts, ``layers`` holds the names and types of the layers at work, the innermost last."""

    def leave(*_: Any) -> None:
        del layers[-1]

    with ExitStack() as stack:
        for name, module in model.named_modules():
            entry = (name, type(module).__name__.removeprefix("Flexible"))
            stack.callback(module.register_forward_pre_hook(lambda *_, entry=entry: layers.append(entry)).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        yield

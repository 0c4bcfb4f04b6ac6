"""Follows channels through one pass of a model: which weights make them, which read them, which share them.

Beside every tensor goes a tensor of the same shape that says for each element which channel it belongs to.
Whatever moves elements (a view, a concatenation, a flip) moves these labels in the same way, so that any wiring is
followed by the operators themselves. Where elements of two tensors meet, their channels are joined: they can only be
kept or removed together.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.errors import BenchError
from bench.widths.flexible import FlexibleAttention, unfused_attention
from bench.widths.labels import Labels, all_alike, along, is_constant

#: no channel at all: time, batch, constants
NONE = 0
#: must stay as it is: inputs and outputs of the model, and whatever is mixed in a way that no removal survives
PINNED = 1


#: what to do about a model that the graph cannot follow
OTHERWISE = (
    "use a method that needs no widths (quantization, masks, low rank), or compute the same by other operators there"
)


class Atoms:
    """Numbered entries of axes, joined into sets. Entries 0 (no channel) and 1 (pinned) are there from the start."""

    def __init__(self) -> None:
        self._parent = np.array([NONE, PINNED], dtype=np.int64)
        self.cause = ""  # what is at work: the operator and its layer
        self._causes: dict[int, str] = {}  # of what was pinned, by the representative that it had

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
            if low == PINNED:
                self._causes[high] = self.cause

    def join_all(self, entries: Labels) -> None:
        """Join all these entries into one set."""
        channels = entries[entries != NONE]
        if len(channels):
            self.join(np.full(len(channels), channels[0]), channels)

    def pin(self, entries: Labels) -> None:
        self.join(entries, np.full(entries.shape, PINNED))

    def cause_of(self, entry: int) -> str:
        """What pinned the set of an entry; empty if nothing did."""
        while (above := int(self._parent[entry])) not in (entry, PINNED):
            entry = above
        return self._causes.get(entry, "")

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
    norms: dict[str, int] = field(default_factory=dict)  # layers that normalise over this axis of their input
    shared: list[Labels] = field(default_factory=list)  # pairs (2, n): entries of a parameter, and channels they meet

    def add(self, unit: int, weight: str, read: Labels, made: Labels, axis: int | None = None) -> None:
        """Note a ``Product``; the same weights used again (by every step of a recurrence) add up."""
        fresh = Product(0, weight, read, made, axis)
        self.products.setdefault((weight, read.tobytes(), made.tobytes()), fresh).unit += unit

    def join_shared(self) -> None:
        """Join each entry that met several channels with them, if these have become one."""
        waiting, before = self.shared, -1
        while waiting and len(waiting) != before:
            before, still = len(waiting), []
            for entries, channels in waiting:
                roots = self.atoms.roots(channels)
                one = np.unique(np.stack([entries, roots])[:, roots != NONE], axis=1)
                if len(np.unique(one[0])) == one.shape[1]:
                    self.atoms.join(one[0], one[1])
                else:
                    still.append(np.stack([entries, channels]))
            waiting = still


@dataclass(eq=False)
class WeightView:
    """A parameter or buffer as an operator sees it: for each of its axes the channels, in the shape of the view."""

    name: str
    labels: list[Tensor]

    def varying(self, dim: int) -> list[int]:
        """The axes of the parameter whose channels differ along a dimension of the view."""
        return [i for i, label in enumerate(self.labels) if not is_constant(label, [dim])]


class Layer(NamedTuple):
    """A layer at work."""

    name: str  # qualified; empty for the model itself
    kind: str
    inputs: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" if self.name else self.kind


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries labels along with every tensor while it is active."""

    def __init__(self, trace: Trace, handlers: Mapping[str, Handler]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = trace
        self.layers: list[Layer] = []  # at work, the innermost last
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
        kwargs = kwargs or {}
        name = func._overloadpacket.__name__
        names = (name, *(tag.name for tag in func.tags))
        handler = next((self._handlers[n] for n in names if n in self._handlers), None)
        if handler is None:
            operands = [self.of(x) for x in _tensors((args, kwargs))]
            if not any(isinstance(of, WeightView) or bool((of != NONE).any()) for of in operands):
                return func(*args, **kwargs)
            if parts := by_parts(func):
                with self:
                    return parts(*args, **kwargs)
            raise BenchError(
                f"the width graph does not know the operator {name} (in layer {self.layer()}); {OTHERWISE}, "
                "or teach it in bench/widths/operators.py"
            )
        self.trace.atoms.cause = f"{name} in layer {self.layer()}"
        out = func(*args, **kwargs)
        try:
            handler(self, func, out, args, kwargs)
        except (BenchError, RuntimeError, ValueError, IndexError) as error:
            why = error if isinstance(error, BenchError) else f"the width graph cannot follow channels ({error})"
            raise BenchError(f"{why} (operator {self.trace.atoms.cause}); {OTHERWISE}") from error
        return out

    def layer(self) -> str:
        """The innermost layer at work, by type and name."""
        return str(self.layers[-1])


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
    stored = (*model.named_parameters(), *model.named_buffers())
    tensors = {n: t for n, t in stored if t.dim() and t.is_floating_point()}  # integers are indices, not features
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
    if x.is_floating_point():
        tracer.label(x, entries)
    with (  # recurrences and attention compute by the products that they consist of, not by one fused operator
        unfused_attention(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        torch.no_grad(),
        named_layers(model, tracer.layers),
        tracer,
    ):
        outputs = model(x)
    trace.join_shared()
    atoms.cause = "an output of the model"
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


def by_parts(func: Any) -> Callable[..., Any] | None:
    """What computes an operator by the simpler ones that, says PyTorch, it consists of; None where it says nothing."""
    return decomposition_table.get(func) or (func.decompose if func._can_decompose() else None)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


@contextmanager
def named_layers(model: nn.Module, layers: list[Layer]) -> Iterator[None]:
    """While this lasts, ``layers`` holds the layers at work, the innermost last; after an error, those it came from."""

    def leave(*_: Any) -> None:
        del layers[-1]

    with ExitStack() as stack:
        for name, module in model.named_modules():
            enter = partial(_enter, layers, layer_of(name, module))
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        yield


def layer_of(name: str, module: nn.Module) -> Layer:
    """What messages call a module; it is not at work."""
    return Layer(name, type(module).__name__.removeprefix("Flexible"), ())


def _enter(layers: list[Layer], layer: Layer, _: nn.Module, inputs: tuple[Any, ...]) -> None:
    layers.append(layer._replace(inputs=inputs))

"""A model as a file that is called chunk by chunk: what its layers need of earlier frames goes in and comes out of it.

A causal convolution needs the last frames of its input, a recurrence its hidden state, attention to the last frames
their keys and values. Nothing else carries a state, and a model of which anything else mixes frames has no such file.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bench.errors import BenchError, said
from bench.export.carried import Carried, refused
from bench.export.model import OnnxModel, PlainAttention, export_graph
from bench.widths.flexible import unfused_attention
from bench.widths.trace import Layer, layer_of, named_layers

#: chunks that a model must compute in as it computes the whole, frames; an attention that sees more has no end
PROBE = (300, 2, 37, 16, 669)
#: of the file, again and again until the input ends
LENGTHS = (16, 1, 7, 40, 2)
#: two outputs are the same, as a share of the largest one
SAME = 1e-4
#: metadata of a file: the shape of each state before the first chunk, of zeros, by name; frames of the first chunk
STATES, FIRST_CHUNK = "states", "first_chunk"


def export_stream(model: nn.Module, example_input: Tensor) -> OnnxModel:
    """The model as a file for one stream: inputs ``input`` and the states, outputs ``output`` and the states after it.

    The state ``x`` comes out as ``x.next``, in the same order.

    Args:
        model: of which the last axis of the input is time, in eval mode.
        example_input: a batch of one; how long it is does not matter.

    Raises:
        BenchError: it cannot carry state; the message names the layer, and says why.
    """
    frames = torch.randn(*example_input.shape[:-1], sum(PROBE), generator=torch.Generator().manual_seed(0))
    layers: list[Layer] = []
    carried = Carried(layers)
    with torch.no_grad(), unfused_attention(), named_layers(model.eval(), layers), carried:
        axis, length = _output_axis(model, frames, carried)
        ends, starts = carried.left, carried.starts
        free: dict[str, dict[int, str]] = {"input": {frames.dim() - 1: "time"}}
        free |= {n: _changing(n, starts[n], ends[n]) for n in ends}
        free |= {"output": {axis: "frames"}}
        free |= {f"{n}.next": {i: f"{axis}.next" for i, axis in free[n].items()} for n in ends}
        file = export_graph(_Step(model, carried), [frames[..., : PROBE[2]], *ends.values()], free)
    loaded = onnx.load_from_string(file.data)
    shapes = {name: list(start.shape) for name, start in starts.items()}
    facts = {STATES: json.dumps(shapes), FIRST_CHUNK: str(1 + sum(PROBE) - length)}
    onnx.helper.set_model_props(loaded, facts)
    return OnnxModel(loaded.SerializeToString())


class Stream:
    """A file that ``export_stream`` has written, at work: it is called with one chunk after the other.

    Attributes:
        states: what the chunks so far have left, by name; those before the first chunk at the start.
        first_chunk: frames that the first chunk has at least.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._session = model.session()
        facts = self._session.get_modelmeta().custom_metadata_map
        self.first_chunk = int(facts[FIRST_CHUNK])
        self.states = {name: np.zeros(shape, np.float32) for name, shape in json.loads(facts[STATES]).items()}

    def __call__(self, chunk: Tensor) -> Tensor:
        output, *states = self._session.run(None, {"input": np.ascontiguousarray(chunk.numpy()), **self.states})
        self.states = dict(zip(self.states, states, strict=True))
        return torch.from_numpy(output)


def filled_inputs(model: OnnxModel, chunk: Tensor) -> list[Tensor]:
    """The inputs of a call in the middle of a stream: a chunk, and states that are as large as they become."""
    stream = Stream(model)
    stream(chunk.new_zeros(*chunk.shape[:-1], sum(PROBE)))
    return [chunk, *map(torch.from_numpy, stream.states.values())]


def in_chunks(model: OnnxModel, inputs: Tensor, whole: Tensor) -> Tensor | None:
    """What a streaming file gives for an input in chunks of many lengths; None if that is no part of ``whole`` each.

    Args:
        model: the file.
        inputs: (1, ..., T).
        whole: what the model gives for all frames at once.
    """
    stream, lengths, rest = Stream(model), cycle(LENGTHS), inputs
    parts: list[Tensor] = []
    while rest.shape[-1]:
        length = next(lengths) if parts else max(stream.first_chunk, LENGTHS[0])
        parts.append(stream(rest[..., :length]))
        rest = rest[..., length:]
    axis = _axis(parts, whole)
    return None if axis is None else torch.cat(parts, axis)


class _Step(nn.Module):
    """(chunk, states) -> (output, states after it)."""

    def __init__(self, model: nn.Module, carried: Carried) -> None:
        super().__init__()
        self.model, self._carried = model, carried

    def forward(self, chunk: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        self._carried.begin(dict(zip(self._carried.starts, states, strict=True)))
        output = self.model(chunk)
        return output, *self._carried.left.values()


#: what each layer has given, in the order in which they ended: its first output
_Given = list[tuple[Layer, Tensor]]


def _output_axis(model: nn.Module, frames: Tensor, carried: Carried) -> tuple[int, int]:
    """Let a model compute chunk by chunk what it does at once: the axis of time in its output, and its length there.

    Raises:
        BenchError: the two are not the same.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase) and module.bidirectional:
            raise refused(layer_of(name, module), "reads the frames from the end, too (bidirectional)")
    with PlainAttention(), _watched(model) as given:
        try:
            model(frames)
            whole, parts = given[:], []
            for chunk in torch.split(frames, list(PROBE), -1):
                given.clear()
                carried.begin(carried.left)
                model(chunk)
                parts.append(given[:])
        except BenchError:
            raise
        except Exception as error:  # of somebody else's code
            raise carried.refuse(f"fails on {sum(PROBE)} frames or on a chunk of them ({said(error)})") from error
    (layer, output), own = whole[-1], [part[-1][1] for part in parts]  # of the model itself
    if (axis := _axis(own, output)) is not None and _alike(own, output):
        return axis, output.shape[axis]
    if all(len(part) == len(whole) for part in parts):  # else other layers are called, and the model is to blame
        calls = ((layer, [x for _, x in own], output) for (layer, output), *own in zip(whole, *parts, strict=True))
        layer, own, output = next(call for call in calls if not _alike(*call[1:]))
    why = "mixes frames otherwise than by causal convolution, recurrence or attention to the last ones"
    if _axis(own, output) is None:
        why = "does not give a frame for every frame, as where time is summed up, cut or padded at the end"
    raise refused(layer, why)


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Given]:
    """While this lasts, what the layers give is entered."""
    given: _Given = []
    with ExitStack() as stack:
        for name, module in model.named_modules():

            def note(module: nn.Module, inputs: Any, outputs: Any, name: str = name) -> None:
                given.extend((layer_of(name, module), x) for x in tree_leaves(outputs)[:1] if isinstance(x, Tensor))

            stack.callback(module.register_forward_hook(note).remove)
        yield given


def _axis(parts: Sequence[Tensor], whole: Tensor) -> int | None:
    """Along which the parts together are as long as the whole."""
    for axis in range(whole.dim()):
        shapes = [(*part.shape[:axis], *part.shape[axis + 1 :]) for part in (*parts, whole) if part.dim() > axis]
        lengths = sum(part.shape[axis] for part in parts if part.dim() > axis)
        if len(shapes) > len(parts) and len(set(shapes)) == 1 and lengths == whole.shape[axis]:
            return axis
    return None


def _alike(parts: Sequence[Tensor], whole: Tensor) -> bool:
    axis = _axis(parts, whole)
    if axis is None or not whole.is_floating_point():
        return axis is not None
    apart = (torch.cat(list(parts), axis) - whole).abs().max()
    return bool(apart <= SAME * whole.abs().max())


def _changing(name: str, start: Tensor, end: Tensor) -> dict[int, str]:
    return {i: f"{name} {i}" for i, (a, b) in enumerate(zip(start.shape, end.shape, strict=True)) if a != b}

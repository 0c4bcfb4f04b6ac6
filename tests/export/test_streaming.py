"""Chunk by chunk a model gives what it gives at once, or says which layer is in the way."""

from collections.abc import Callable

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, OnnxModel, Widths, factorizable, factorized
from bench.export import runtimes
from bench.export.model import Predictor, export_onnx
from bench.export.streaming import SAME, Stream, export_stream, filled_inputs, in_chunks
from tasks.vad import Vad
from tests.export.test_runtimes import RUNTIMES


def narrower(model: nn.Module, example: Tensor) -> nn.Module:
    """Half of all widths, of the mel bands and heads, too."""
    widths = Widths(model, example, input_axis=1)
    return widths.keep({name: torch.arange(0, size, 2) for name, size in widths.sizes.items()})


def low_rank(model: nn.Module, example: Tensor) -> nn.Module:
    return factorized(model, {name: 4 for name in factorizable(model) if name != "head"})


def masked(model: nn.Module, example: Tensor) -> nn.Module:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(torch.rand_like(weight) < 0.5)
    return model


@pytest.mark.parametrize(
    "change", [None, narrower, low_rank, masked], ids=lambda change: getattr(change, "__name__", "")
)
@pytest.mark.parametrize("name", ["crnn", "causal"])
def test_a_compressed_model_gives_the_same_chunk_by_chunk(
    name: str, change: Callable[[nn.Module, Tensor], nn.Module] | None
) -> None:
    torch.manual_seed(0)
    task = Vad(model=name, size="tiny")
    model, example = task.build_model().eval(), task.example_input()
    model = change(model, example) if change else model
    inputs, file = torch.randn(1, 80, 251), export_stream(model, example)
    whole = Predictor(export_onnx(model, example))(inputs)
    assert whole.std() > 10 * SAME  # else the same would say nothing
    found = in_chunks(file, inputs, whole)
    assert found is not None
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["crnn", "causal"])
def test_states_are_what_the_next_chunk_needs_and_grow_no_further(name: str) -> None:
    task = Vad(model=name, size="tiny")
    file = export_stream(task.build_model(), task.example_input())
    stream = Stream(file)
    began = {name: state.shape for name, state in stream.states.items()}
    full = [tuple(own.shape) for own in filled_inputs(file, torch.zeros(1, 80, 16))[1:]]
    if name == "crnn":
        assert (began, stream.first_chunk) == ({"conv.frames": (1, 80, 0), "rnn.hidden": (2, 1, 16)}, 3)
        assert full == [(1, 80, 2), (2, 1, 16)]
    else:
        blocks = [f"blocks.{i}.attention.{own}" for i in (0, 1) for own in ("keys", "values")]
        assert began == {"position.frames": (1, 24, 14), **dict.fromkeys(blocks, (1, 12, 0, 2))}
        assert (full, stream.first_chunk) == ([(1, 24, 14), *[(1, 12, 99, 2)] * 4], 1)
    graph = onnx.load_from_string(file.data).graph
    assert [own.name for own in graph.input] == ["input", *began]
    assert [own.name for own in graph.output] == ["output", *(f"{name}.next" for name in began)]
    assert "Pad" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["crnn", "causal"])
def test_every_runtime_computes_a_chunk_in_the_middle_of_a_stream(name: str, runtime: str) -> None:
    torch.manual_seed(0)
    task = Vad(model=name, size="tiny")
    file, inputs = export_stream(task.build_model(), task.example_input()), torch.randn(1, 80, 400)
    stream = Stream(file)
    stream(inputs[..., :384])
    arrays = [inputs[..., 384:].contiguous().numpy(), *stream.states.values()]
    found = torch.from_numpy(runtimes.load(runtime, file.data)(*arrays))
    torch.testing.assert_close(found, stream(inputs[..., 384:]), atol=1e-5, rtol=1e-4)


def test_a_file_of_another_model_is_found_out() -> None:
    task = Vad(model="crnn", size="tiny")
    inputs, example = torch.randn(1, 80, 100), task.example_input()
    file = export_stream(task.build_model(), example)
    whole = Predictor(export_onnx(task.build_model(), example))(inputs)
    found = in_chunks(file, inputs, whole)
    assert found is not None and (found - whole).abs().max() > SAME
    assert in_chunks(file, inputs, whole[:, :1]) is None


class Around(nn.Module):
    """A layer, and how it is called on (B, 4, T)."""

    def __init__(self, layer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.layer, x)


class Sometimes(Around):
    """Calls its layer once more where there are many frames: what layers give cannot be told apart call by call."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.layer(x) if x.shape[2] > 400 else x)


def plain(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)  # type: ignore[no-any-return]


def in_time(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x.transpose(1, 2))[0]  # type: ignore[no-any-return]


def padded(left: int, right: int = 0, **how: str) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda layer, x: layer(functional.pad(x, (left, right), **how))  # type: ignore[arg-type]


def attending(mask: Callable[[Tensor], Tensor | None]) -> Around:
    def call(layer: nn.Module, x: Tensor) -> Tensor:
        frames, age = x.transpose(1, 2), torch.arange(x.shape[2])[:, None] - torch.arange(x.shape[2])
        return layer(frames, frames, frames, need_weights=False, attn_mask=mask(age))[0]  # type: ignore[no-any-return]

    return Around(nn.MultiheadAttention(4, 2, batch_first=True), call)


def infinite(age: Tensor) -> Tensor:
    return torch.zeros_like(age, dtype=torch.float32).masked_fill((age < 0) | (age > 4), float("-inf"))


CAUSAL = {
    "lstm": Around(nn.LSTM(4, 4, num_layers=2, batch_first=True), in_time),
    "rnn, time first": Around(nn.RNN(4, 4), lambda layer, x: layer(x.permute(2, 0, 1))[0]),
    "dilated": Around(nn.Conv1d(4, 4, 3, dilation=4), plain),
    "padded before": Around(nn.Conv1d(4, 4, 3, dilation=4), padded(8)),
    "padded by less": Around(nn.Conv1d(4, 4, 3, dilation=4), padded(5)),
    "called twice": Around(nn.Conv1d(4, 4, 3), lambda layer, x: padded(2)(layer, padded(2)(layer, x).relu())),
    "padded and not": Around(nn.Conv1d(4, 4, 3), lambda layer, x: padded(2)(layer, x)[..., 2:] + layer(x)),
    "infinite scores": attending(infinite),
    "itself alone": attending(lambda age: age != 0),
    "batch norm": Around(nn.BatchNorm1d(4), plain),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_layers_carry_their_state(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = CAUSAL[name].eval(), torch.randn(1, 4, 70)
    with torch.no_grad():
        whole = model(inputs)
    if name == "padded and not":  # two frames of one branch are cut, as if they came before the stream
        with pytest.raises(BenchError, match="Around cannot carry state"):
            export_stream(model, inputs)
        return
    found = in_chunks(export_stream(model, inputs), inputs, whole)
    assert found is not None
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)


REFUSED = {
    "Conv1d 'layer' .* it is padded at both ends, .*; functional.pad.x, .2, 0.. first": Around(
        nn.Conv1d(4, 4, 3, padding=1), plain
    ),
    "Conv1d 'layer' .* it gives one frame for every 2": Around(nn.Conv1d(4, 4, 3, stride=2), plain),
    "Conv1d 'layer' .* it does not give a frame for every frame, .*padded at the end": Around(
        nn.Conv1d(4, 4, 3), padded(1, 1)
    ),
    "Conv1d 'layer' .* it does not give a frame for every frame": Around(
        nn.Conv1d(4, 4, 3), padded(2, mode="replicate")
    ),
    "GRU 'layer' .* it reads the frames from the end, too": Around(
        nn.GRU(4, 4, batch_first=True, bidirectional=True), in_time
    ),
    "GRU 'layer' .* it begins with a state that is not zero": Around(
        nn.GRU(4, 4, batch_first=True), lambda layer, x: layer(x.transpose(1, 2), x.new_ones(1, len(x), 4))[0]
    ),
    "MultiheadAttention 'layer' .* it attends to frames to come": attending(lambda age: None),
    "MultiheadAttention 'layer' .* it attends to all of 1024 frames before": attending(lambda age: age < 0),
    "MultiheadAttention 'layer' .* it has a mask that does not show": attending(lambda age: age == 0),
    "MultiheadAttention 'layer' .* it has a mask that does not show each": attending(lambda age: -age.abs().float()),
    "Sometimes .* it mixes frames": Sometimes(nn.Identity(), lambda layer, x: layer(x) - x.mean(2, keepdim=True)),
    "InstanceNorm1d 'layer' .* it mixes frames": Around(nn.InstanceNorm1d(4), plain),
    "Conv2d 'layer' .* it mixes frames": Around(
        nn.Conv2d(1, 1, 3, padding=1), lambda layer, x: layer(x[:, None]).flatten(1, 2)
    ),
    "AvgPool1d 'layer' .* it does not give a frame for every frame": Around(nn.AvgPool1d(2), plain),
    "Around cannot carry state .* it mixes frames": Around(nn.Identity(), lambda layer, x: x.cumsum(2)),
    "Around cannot .* it does not give a frame .* summed up": Around(nn.Identity(), lambda layer, x: x.mean(2)),
    "Linear 'layer' .* it fails on 1024 frames or on a chunk": Around(nn.Linear(60, 4), plain),
    "Conv1d 'position' cannot carry state from chunk to chunk": Vad(model="transformer", size="tiny").build_model(),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_model_that_cannot_carry_state_names_the_layer_and_says_why(said: str) -> None:
    torch.manual_seed(0)
    model = REFUSED[said]
    with pytest.raises(BenchError, match=f"^{said}") as refused:
        export_stream(model, torch.zeros(1, 4 if isinstance(model, Around) else 80, 60))
    assert "\n" not in str(refused.value)


def test_a_flexible_layer_that_reads_backwards_is_named_as_what_it_was() -> None:
    model = REFUSED["GRU 'layer' .* it reads the frames from the end, too"]
    flexible = Widths(model, torch.zeros(1, 4, 60)).model
    with pytest.raises(BenchError, match=r"^GRU 'layer' .* it reads the frames from the end"):
        export_stream(flexible, torch.zeros(1, 4, 60))


def test_the_file_of_the_whole_is_the_same_as_ever() -> None:
    """Attention is written as before, whatever a stream makes of it."""
    task = Vad(model="causal", size="tiny")
    model = task.build_model()
    before = export_onnx(model, task.example_input()).data
    export_stream(model, task.example_input())
    assert isinstance(OnnxModel(before), OnnxModel) and export_onnx(model, task.example_input()).data == before

"""A finished model on disk: the ONNX file that is scored, the weights and the recipe that build the module again."""

import contextlib
import hashlib
import inspect
import io
import itertools
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import linear, multi_head_attention_forward
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.errors import BenchError, MethodError, said
from bench.export import RECIPE, WEIGHTS, runtimes
from bench.export.runtimes.onnxruntime import session
from bench.plugins.own_model import dense_model
from bench.plugins.task import Task
from bench.storage.files import write_whole
from bench.widths.flexible import attend, heads_of, unfused_attention
from bench.widths.history import Step, steps_of
from bench.widths.low_rank import with_ranks
from bench.widths.widths import Widths

#: the last opset of PyTorch's exporter that keeps batch and time free without tracing through torch.export
OPSET = 17

logging.getLogger("torch.onnx").setLevel(logging.ERROR)


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model in deployment format: the bytes of an ONNX file with one input ``input`` and one output ``output``."""

    data: bytes

    @property
    def form(self) -> str:
        """Names all that its speed depends on: the graph, the sizes of its weights, and the share of them that is zero.

        That share counts in percent, as some runtimes skip zeros.
        """
        model, zeros, weights = onnx.ModelProto.FromString(self.data), 0, 0
        for constant in model.graph.initializer:
            values = onnx.numpy_helper.to_array(constant)
            zeros, weights = zeros + int((values == 0).sum()), weights + values.size
            constant.ClearField("raw_data")
        graph = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        return f"{graph} {zeros / max(weights, 1):.2f}"

    def session(self, *, optimized: bool = True, profile: Path | None = None) -> Any:
        """An ONNX Runtime session on one thread of the CPU; unless ``optimized``, it computes node by node.

        With ``profile`` it times every kernel, for a file whose path begins so.
        """
        return session(self.data, 1, optimized=optimized, profile=profile)


def export_onnx(model: nn.Module, example_input: Tensor) -> OnnxModel:
    """The model as ONNX, in eval mode, with free batch size and free last axis (time) of the input.

    PyTorch's TorchScript exporter is used on purpose: 0.1 s a model where the newer one takes 2 to 4 s, and it keeps
    the time axis of recurrent layers free.
    """
    example = torch.cat([example_input, example_input])  # a batch of one could be frozen as a constant
    free = {0: "batch", example.dim() - 1: "time"}
    return export_graph(model, [example], {"input": free, "output": {0: "batch"}})


def export_graph(
    module: nn.Module, examples: Sequence[Tensor], free: Mapping[str, Mapping[int, str]], *, fold: bool = True
) -> OnnxModel:
    """A module as ONNX, in eval mode, traced with examples.

    Args:
        module: from tensors to one tensor or several.
        examples: one for each input, that it is traced with.
        free: the axes that may have any size, by names of the inputs and then of the outputs.
        fold: write what does not depend on the input as a constant; else it is computed when the file is loaded.

    Raises:
        BenchError: it computes what ONNX has no operator for.
    """
    buffer, names = io.BytesIO(), list(free)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), unfused_attention(), PlainAttention():
        warnings.simplefilter("ignore")  # it announces that it will be replaced
        try:
            torch.onnx.export(
                module.eval(),
                tuple(examples),
                buffer,  # type: ignore[arg-type]  # a file object serves as well as a path
                opset_version=OPSET,
                dynamo=False,
                input_names=names[: len(examples)],
                output_names=names[len(examples) :],
                dynamic_axes=free,
                do_constant_folding=fold,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise BenchError(
                f"{type(module).__name__} cannot be exported to ONNX ({said(error)}): let its layers "
                "compute the same by other operators"
            ) from error
    onnx.checker.check_model(buffer.getvalue())
    return OnnxModel(buffer.getvalue())


class PlainAttention(TorchFunctionMode):
    """While it is active, ``nn.MultiheadAttention`` computes by the operators of ``FlexibleAttention``.

    PyTorch's own form is traced through ``Tensor.unflatten``, which the exporter writes with the length of the example
    as a constant, and leaves some sixty nodes about shapes for each layer. It stays in use for what it alone can do.
    """

    _signature = inspect.signature(multi_head_attention_forward)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is multi_head_attention_forward:
            call = self._signature.bind(*args, **(kwargs or {}))
            call.apply_defaults()
            asked = call.arguments
            odd = [asked[n] for n in ("training", "add_zero_attn")] + [asked["in_proj_weight"] is None]
            odd += [asked[name] is not None for name in ("bias_k", "static_k", "static_v")]
            if asked["query"].dim() == 3 and not any(odd):
                return _attention(asked)
        return func(*args, **(kwargs or {}))


def _attention(call: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """What ``multi_head_attention_forward`` computes for a query of shape (T, B, E) in eval mode."""
    query, count, features, mask = call["query"], call["num_heads"], call["embed_dim_to_check"], call["attn_mask"]
    heads = heads_of((query, call["key"], call["value"]), [call["in_proj_weight"]], call["in_proj_bias"], (count, -1))
    if mask is not None and mask.dim() == 3:
        mask = mask.reshape(-1, count, *mask.shape[1:])
    masks, scale = (mask, call["key_padding_mask"]), (features // count) ** -0.5
    mixed, weights = attend(heads, scale, masks, dropout=0.0, need_weights=True)
    mixed = mixed.permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], features)
    result = linear(mixed, call["out_proj_weight"], call["out_proj_bias"])
    if weights is None or not call["need_weights"]:
        return result, None
    return result, weights.mean(1) if call["average_attn_weights"] else weights


class Predictor:
    """Scores with a runtime what a task would score with a module: tensor in, tensor out.

    It takes one thread, as trials share the cores.

    A model that takes the ranges of its activations from what it is given sees one example at a time, as where it is
    shipped: in a batch, one loud recording would round all others coarsely.
    """

    def __init__(self, model: OnnxModel, runtime: str = runtimes.DEFAULT) -> None:
        self._session = runtimes.load(runtime, model.data)
        operators = {node.op_type for node in onnx.load_from_string(model.data).graph.node}
        self._alone = any(operator.startswith("DynamicQuantize") for operator in operators)

    def __call__(self, inputs: Tensor) -> Tensor:
        parts = torch.split(inputs, 1) if self._alone else [inputs]
        return torch.cat([self._run(part) for part in parts])

    def _run(self, inputs: Tensor) -> Tensor:
        return torch.from_numpy(self._session(np.ascontiguousarray(inputs.numpy())))


def require_plain(model: nn.Module, example_input: Tensor) -> None:
    """Raise a ``MethodError`` for a finished model that is not a plain one of float32 with one output.

    Hooks, parametrizations and unregistered tensors are not plain either.
    """
    for kind, remedy in _not_plain(model):
        raise MethodError(f"the finished model {kind}: {remedy}")
    modules = [(name or "the model", module) for name, module in model.named_modules()]
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if hooked := [name for name, module in modules if any(getattr(module, kind) for kind in kinds)]:
        raise MethodError(f"hooks are left on the finished model ({', '.join(hooked)}): remove them first")
    if masked := [name for name, module in modules if hasattr(module, "parametrizations")]:
        where = ", ".join(masked)
        raise MethodError(f"parametrizations are left on the finished model ({where}): fold them into the weights")
    watch = _Strangers(model, example_input)
    with torch.no_grad(), watch:
        outputs = model.eval()(example_input)
    if not isinstance(outputs, Tensor):
        raise MethodError(f"the finished model returns {type(outputs).__name__}, expected one tensor, as the dense one")
    if watch.found:
        raise MethodError(
            f"the finished model computes with {sum(watch.found.values()):,} numbers that are neither parameters nor "
            "buffers of it: hidden parameters; register them as such"
        )


def _not_plain(model: nn.Module) -> Iterator[tuple[str, str]]:
    """What ONNX cannot hold or a runtime would not compute alike, and what to do about it."""
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod"):
            yield "was compiled", "return the module that torch.compile() was given"
        if type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")):
            yield f"has integer layers of PyTorch ({name})", "return an OnnxModel, as methods/quantization.py does"
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        if tensor.layout != torch.strided:
            yield f"has sparse weights ({name})", "return them dense, by to_dense(): zeros are counted there, too"
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            yield f"computes in {tensor.dtype} ({name})", "return it as float32, by model.float()"
        if tensor.device.type != "cpu":
            yield f"lies on {tensor.device} ({name})", "return it on the CPU, by model.cpu()"


class _Strangers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds the tensors that enter a computation from nowhere: not the input, not registered, not computed before."""

    def __init__(self, model: nn.Module, example_input: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {_memory(t) for t in (*model.parameters(), *model.buffers(), example_input)}
        self._alive: list[Tensor] = []  # memory of a tensor that is gone would be given to the next one
        self.found: dict[int, int] = {}  # address -> elements

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor) and tensor.dim() > 0 and _memory(tensor) not in self._known:
                self.found[_memory(tensor)] = tensor.numel()
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._known.add(_memory(tensor))
                self._alive.append(tensor)
        return out


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def save_module(model: nn.Module, task: Task, folder: Path) -> None:
    """Leave the weights of a finished model in a folder, with the recipe that ``rebuilt_model`` follows."""
    write_whole(folder / WEIGHTS, save({n: t.detach().cpu().contiguous() for n, t in model.state_dict().items()}))
    recipe = {
        "how": "the dense model of the task; step by step, of each group only these channels are kept, or each layer "
        "becomes two, with so many channels between them; then the weights",
        "task": type(task).__name__,
        "fields": {name: str(value) for name, value in task.identity().items()},
        "steps": steps_of(model),
        "weights": WEIGHTS,
    }
    write_whole(folder / RECIPE, json.dumps(recipe) + "\n")


def kept_sizes(folder: Path) -> dict[str, int]:
    """How many channels the recipe of a finished trial keeps of each width group that lost some.

    Empty without a recipe, or where layers were factorised, too: the widths alone do not say what the model costs.
    """
    steps = _steps(folder) if (folder / RECIPE).exists() else []
    if any("ranks" in step for step in steps):
        return {}
    return {n: len(channels) for step in steps for n, channels in step["kept_channels"].items()}  # the last one counts


def _steps(folder: Path) -> list[Step]:
    """What a recipe does to the dense model; one of an earlier version lists the channels alone."""
    recipe: dict[str, Any] = json.loads((folder / RECIPE).read_text())
    return recipe["steps"] if "steps" in recipe else [{"kept_channels": kept} for kept in recipe["kept_channels"]]


def rebuilt_model(task: Task, folder: Path) -> nn.Module | None:
    """The PyTorch module of a finished trial, in eval mode, from the recipe and the weights in its folder.

    None where there is no module (integer models exist as ONNX files only), or where the steps and weights do not fit
    the task's model, so that only whoever made it knows its structure.
    """
    if not (folder / WEIGHTS).exists():
        return None
    with torch.random.fork_rng(devices=[]):
        model = dense_model(task)
        try:
            for step in _steps(folder):
                model = _changed(model, task, step)
            model.load_state_dict(load_file(folder / WEIGHTS))
        except (RuntimeError, BenchError):  # other names or shapes: a structure of its own
            return None
    return model.eval()


def _changed(model: nn.Module, task: Task, step: Step) -> nn.Module:
    """The model after a step of a recipe; its weights are of no account."""
    if "ranks" in step:
        return with_ranks(model, step["ranks"])
    widths = Widths(model, task.example_input(), input_axis=task.input_width_axis)
    return widths.keep({name: torch.tensor(channels) for name, channels in step["kept_channels"].items()})

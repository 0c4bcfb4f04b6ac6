"""Every runtime computes what the file says, and tells what it cannot load."""

import sys
import time
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench import Batch, BenchError, OnnxModel
from bench.export import runtimes
from bench.export.latency import Loaded
from bench.export.model import Predictor, export_onnx
from bench.plugins.task import Task
from methods._integer import quantized
from tasks.antispoof import Antispoof
from tasks.synthetic import Synthetic
from tasks.vad import Vad
from tests.tracking.test_addresses import connections

TASKS: dict[str, Callable[[], Task]] = {
    **{problem: partial(Synthetic, problem=problem) for problem in ("linear", "allocation", "nonlinear")},
    **{model: partial(Antispoof, model=model, width=4) for model in ("resnet10", "cnn_tdnn")},
    **{model: partial(Vad, model=model, size="tiny") for model in ("crnn", "transformer", "causal")},
}


def present(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"needs the extra {name}: compression-bench[{name}]")


RUNTIMES = [pytest.param(name, marks=present(name)) for name in runtimes.names()]
openvino = present("openvino")


@cache
def files(name: str) -> tuple[torch.Tensor, OnnxModel, OnnxModel]:
    """Inputs, and an untrained model with outputs of about 1 in floats and in integers."""
    torch.manual_seed(0)
    task = TASKS[name]()
    model = task.build_model().eval()
    inputs = torch.randn(4, *task.example_input().shape[1:])
    with torch.no_grad():
        scaled = nn.Sequential(model, Scale(1 / float(model(inputs).std()))).eval()
    exported = export_onnx(scaled, task.example_input())
    return inputs, exported, quantized(exported, [Batch(inputs, torch.zeros(4))], lambda note: None)


class Scale(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", TASKS)
def test_a_float_file_gives_the_same_outputs(name: str, runtime: str) -> None:
    inputs, exported, _ = files(name)
    expected = Predictor(exported)(inputs)
    for some in (inputs, inputs[:1]):  # of any batch
        torch.testing.assert_close(Predictor(exported, runtime)(some), expected[: len(some)], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", [name for name in TASKS if name != "crnn"])
def test_an_integer_file_differs_by_rounding_alone(name: str, runtime: str) -> None:
    """Runtimes round at other places: sums before or after they are scaled. That is as small as rounding itself."""
    inputs, _, integer = files(name)
    expected = Predictor(integer)(inputs)
    found = Predictor(integer, runtime)(inputs)
    assert float((found - expected).norm() / expected.norm()) < 0.01


@openvino
def test_a_file_that_cannot_be_loaded_is_one_line() -> None:
    """Weights of a GRU that are stored as integers."""
    with pytest.raises(BenchError, match=r"^OpenVINO cannot load this ONNX file: RuntimeError: .*Constant") as raised:
        Predictor(files("crnn")[2], "openvino")
    assert "\n" not in str(raised.value)
    with pytest.raises(BenchError, match=r"^ONNX Runtime cannot load this ONNX file: "):
        runtimes.load("onnxruntime", b"no model")


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match=r"'openvin' \(did you mean 'openvino'\?\); there are: onnxruntime, openvino"):
        runtimes.load("openvin", b"")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BenchError, match=r"--runtime openvino: .*; pip install 'compression-bench\[openvino\]'"):
        runtimes.load("openvino", b"")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_on_one_thread_the_thread_that_calls_does_the_work(runtime: str) -> None:
    """Whose clock is read; on more, the clock on the wall is."""
    model = export_onnx(nn.Sequential(*(nn.Conv1d(64, 64, 9) for _ in range(6))), torch.zeros(1, 64, 200))
    alone, inputs = Loaded(model, runtime), torch.zeros(1, 64, 200)
    whole, own = time.process_time(), time.thread_time()
    for call in alone.calls(inputs) * 10:
        call()
    assert time.thread_time() - own > 0.8 * (time.process_time() - whole)
    assert alone.clock is time.thread_time and alone.reference(inputs).clock is time.thread_time


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_several_threads_are_timed_by_the_clock_on_the_wall(runtime: str) -> None:
    inputs, exported, _ = files("resnet10")
    several = Loaded(exported, runtime, 2)
    assert several.reference(inputs).clock is several.clock is time.perf_counter
    expected = Predictor(exported)(inputs).numpy()
    assert all(np.allclose(call(), expected, atol=1e-4) for call in several.calls(inputs))


@openvino
def test_openvino_reports_nothing(tmp_path: Path) -> None:
    """Its import would look up a server, and leave the number of this machine in the home folder."""
    code = "import torch; from bench.export.model import Predictor, export_onnx; model = torch.nn.Linear(2, 1)"
    code += "; Predictor(export_onnx(model, torch.ones(1, 2)), 'openvino')(torch.ones(3, 2))"
    assert connections(tmp_path, "-c", code) == [] and not [*(tmp_path / "home").rglob("*")]

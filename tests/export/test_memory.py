"""Peak memory: counted by hand for small networks, and against what a process really grows by."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import Trainer
from bench.export.memory import peak_memory_bytes
from bench.export.model import OnnxModel, export_onnx
from bench.plugins.registry import load_task
from methods.quantization import Quantization
from tests.models import Points

FLOAT = 4


class Residual(nn.Module):
    """Two layers of (B, 8, T) around which the input is carried."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(8, 32, 1), nn.Conv1d(32, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)).flatten(2)) + x


@pytest.mark.parametrize(
    ("model", "shape", "alive"),
    [
        (nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 5)), (1, 10), 10 + 30),  # in place, input first
        (nn.Sequential(nn.Linear(10, 30), nn.Linear(30, 50), nn.Linear(50, 5)), (1, 10), 30 + 50),
        (Residual(), (1, 8, 6), (8 + 32 + 8) * 6),  # the input is needed to the end
        (nn.Conv1d(2, 3, 3, padding=1), (4, 2, 7), (2 + 3) * 4 * 7),
    ],
)
def test_what_lives_at_the_same_time_is_counted(model: nn.Module, shape: tuple[int, ...], alive: int) -> None:
    example = torch.zeros(shape)
    assert peak_memory_bytes(export_onnx(model, example), shape) == FLOAT * alive


def test_integers_take_a_byte_each() -> None:
    task = Points(hidden=64)
    trainer = Trainer(task, task.presets["quick"], steps=0, seed=0, dense_macs=1)
    integer = Quantization().compress(task.build_model(), trainer)
    assert isinstance(integer, OnnxModel)
    shape = tuple(task.example_input().shape)
    floats = peak_memory_bytes(export_onnx(task.build_model(), task.example_input()), shape)
    assert peak_memory_bytes(integer, shape) < floats / 2


GROWS = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.enable_cpu_mem_arena, options.enable_mem_pattern = 1, False, False
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = tuple(map(int, sys.argv[2].split(",")))
session.run(None, {"input": numpy.ones((1, *shape[1:]), numpy.float32)})
inputs = numpy.ones(shape, numpy.float32)
def highest():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = highest()
session.run(None, {"input": inputs})
print(highest() - before + inputs.nbytes)
"""


@pytest.mark.parametrize("name", ["antispoof", "vad"])
def test_a_process_grows_by_as_much(name: str, tmp_path: Path) -> None:
    """A batch of a thousand, so that all else is small; what operators need while they work is not counted."""
    task = load_task(name)()
    example = task.example_input()
    file, shape = export_onnx(task.build_model().eval(), example), (1000, *example.shape[1:])
    (tmp_path / "model.onnx").write_bytes(file.data)
    command = [sys.executable, "-c", GROWS, str(tmp_path / "model.onnx"), ",".join(map(str, shape))]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0.7 * grown < 1000 * peak_memory_bytes(file, tuple(example.shape)) < 1.02 * grown

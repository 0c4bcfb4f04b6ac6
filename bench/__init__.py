"""Is a network better compressed while it trains, or afterwards? The engine of the benchmark.

Everything that a method or a task needs is imported from here. The names load on first use, because PyTorch takes
seconds to import and ``bench --help`` should not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, BudgetError, Declined, MethodError

if TYPE_CHECKING:
    from bench.cache import cached_folder, content_key, folder_digest
    from bench.measure.onnx_model import OnnxModel
    from bench.method import Chain, Method, tune
    from bench.task import Batch, ItemScores, Metric, Plan, Predict, Progress, Split, Task
    from bench.train import Trainer
    from bench.widths import Widths

_HOME = {
    "cached_folder": "bench.cache",
    "content_key": "bench.cache",
    "folder_digest": "bench.cache",
    "OnnxModel": "bench.measure.onnx_model",
    "Chain": "bench.method",
    "Method": "bench.method",
    "tune": "bench.method",
    "Batch": "bench.task",
    "ItemScores": "bench.task",
    "Metric": "bench.task",
    "Plan": "bench.task",
    "Predict": "bench.task",
    "Progress": "bench.task",
    "Split": "bench.task",
    "Task": "bench.task",
    "Trainer": "bench.train",
    "Widths": "bench.widths",
}

__all__ = [
    "Batch",
    "BenchError",
    "BudgetError",
    "Chain",
    "Declined",
    "ItemScores",
    "Method",
    "MethodError",
    "Metric",
    "OnnxModel",
    "Plan",
    "Predict",
    "Progress",
    "Split",
    "Task",
    "Trainer",
    "Widths",
    "cached_folder",
    "content_key",
    "folder_digest",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

"""Is a network better compressed while it trains, or afterwards? The engine of the benchmark.

Everything that a method or a task needs is imported from here. The names load on first use, because PyTorch takes
seconds to import and ``bench --help`` should not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, BudgetError, Declined, MethodError

if TYPE_CHECKING:
    from bench.export.model import OnnxModel
    from bench.plugins.method import Chain, Method, tune
    from bench.plugins.metrics import equal_error_rate
    from bench.plugins.task import Batch, ItemScores, Metric, Plan, Predict, Progress, Split, Task
    from bench.storage.cache import cached_folder, content_key, folder_digest
    from bench.trial.trainer import Trainer
    from bench.widths.cost import count_macs
    from bench.widths.widths import Widths

_HOME = {
    "cached_folder": "bench.storage.cache",
    "content_key": "bench.storage.cache",
    "folder_digest": "bench.storage.cache",
    "OnnxModel": "bench.export.model",
    "Chain": "bench.plugins.method",
    "Method": "bench.plugins.method",
    "tune": "bench.plugins.method",
    "equal_error_rate": "bench.plugins.metrics",
    "count_macs": "bench.widths.cost",
    "Batch": "bench.plugins.task",
    "ItemScores": "bench.plugins.task",
    "Metric": "bench.plugins.task",
    "Plan": "bench.plugins.task",
    "Predict": "bench.plugins.task",
    "Progress": "bench.plugins.task",
    "Split": "bench.plugins.task",
    "Task": "bench.plugins.task",
    "Trainer": "bench.trial.trainer",
    "Widths": "bench.widths.widths",
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
    "count_macs",
    "equal_error_rate",
    "folder_digest",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

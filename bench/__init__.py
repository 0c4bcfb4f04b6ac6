"""Is a network better compressed while it trains, or afterwards? The engine of the benchmark.

Everything that a method or a task needs is imported from here. The names load on first use, because PyTorch takes
seconds to import and ``bench --help`` should not.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Read when these libraries are imported, in whatever process: nothing is sent anywhere. ONNX Runtime would queue a
# device id and what it was used for in the home folder, too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from bench.errors import BenchError, BudgetError, Declined, MethodError

if TYPE_CHECKING:  # for type checkers; when the program runs, ``__getattr__`` finds the same names
    from bench.export.model import OnnxModel, rebuilt_model
    from bench.plugins.classification import Classification, soft_divergence
    from bench.plugins.method import Chain, FrontMethod, Method, tune
    from bench.plugins.metrics import average_precision, equal_error_rate
    from bench.plugins.plans import full_plan, paper_plan, quick_plan, smoke_plan
    from bench.plugins.recordings import Recording, inspect_recordings, listing_problems
    from bench.plugins.registry import load_task
    from bench.plugins.sounds import Sound, SoundScoring, read_sound
    from bench.plugins.task import SPLITS, Batch, ItemScores, Metric, Plan, Predict, Progress, Split, Task, per_split
    from bench.storage.cache import cached_folder, content_key, folder_digest
    from bench.storage.provenance import multiplies_integers
    from bench.trial.trainer import Trainer
    from bench.widths.cost import count_macs, largest_model
    from bench.widths.flexible import make_flexible
    from bench.widths.groups import Part
    from bench.widths.low_rank import factorizable, factorized
    from bench.widths.masks import Masks, rank_shares
    from bench.widths.widths import Widths

_NAMES = {
    "bench.export.model": "OnnxModel rebuilt_model",
    "bench.plugins.classification": "Classification soft_divergence",
    "bench.plugins.method": "Chain FrontMethod Method tune",
    "bench.plugins.metrics": "average_precision equal_error_rate",
    "bench.plugins.plans": "full_plan paper_plan quick_plan smoke_plan",
    "bench.plugins.recordings": "Recording inspect_recordings listing_problems",
    "bench.plugins.registry": "load_task",
    "bench.plugins.sounds": "Sound SoundScoring read_sound",
    "bench.plugins.task": "SPLITS Batch ItemScores Metric Plan Predict Progress Split Task per_split",
    "bench.storage.cache": "cached_folder content_key folder_digest",
    "bench.storage.provenance": "multiplies_integers",
    "bench.trial.trainer": "Trainer",
    "bench.widths.cost": "count_macs largest_model",
    "bench.widths.flexible": "make_flexible",
    "bench.widths.groups": "Part",
    "bench.widths.low_rank": "factorizable factorized",
    "bench.widths.masks": "Masks rank_shares",
    "bench.widths.widths": "Widths",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})

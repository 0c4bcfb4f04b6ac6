"""Is a network better compressed while it trains, or afterwards? The engine of the benchmark.

Everything that a method or a task needs is imported from here. The names load on first use, because PyTorch takes
seconds to import and ``bench --help`` should not.
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError as BenchError
from bench.errors import BudgetError as BudgetError
from bench.errors import Declined as Declined
from bench.errors import MethodError as MethodError

if TYPE_CHECKING:  # the one list of names: type checkers follow it, and ``__getattr__`` reads it
    from bench.export.model import OnnxModel as OnnxModel
    from bench.plugins.method import Chain as Chain
    from bench.plugins.method import Method as Method
    from bench.plugins.method import tune as tune
    from bench.plugins.metrics import equal_error_rate as equal_error_rate
    from bench.plugins.task import Batch as Batch
    from bench.plugins.task import ItemScores as ItemScores
    from bench.plugins.task import Metric as Metric
    from bench.plugins.task import Plan as Plan
    from bench.plugins.task import Predict as Predict
    from bench.plugins.task import Progress as Progress
    from bench.plugins.task import Split as Split
    from bench.plugins.task import Task as Task
    from bench.storage.cache import cached_folder as cached_folder
    from bench.storage.cache import content_key as content_key
    from bench.storage.cache import folder_digest as folder_digest
    from bench.trial.trainer import Trainer as Trainer
    from bench.widths.cost import count_macs as count_macs
    from bench.widths.widths import Widths as Widths


@cache
def _homes() -> dict[str, str]:
    """The module of each name that is imported above."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names if alias.asname}


def __getattr__(name: str) -> Any:
    if name not in _homes():
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_homes()[name]), name)

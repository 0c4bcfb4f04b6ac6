"""Which trials to run; the only place that knows Optuna."""

from bench.search.study import BATCH, MethodStudy, Proposal

__all__ = ["BATCH", "MethodStudy", "Proposal"]

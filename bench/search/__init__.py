"""Which trials to run, and which of them are read on eval; the only place that knows Optuna."""

from bench.search.choice import frozen_choices
from bench.search.study import BATCH, MethodStudy, Proposal

__all__ = ["BATCH", "MethodStudy", "Proposal", "frozen_choices"]

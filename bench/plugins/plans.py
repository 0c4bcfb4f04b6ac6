"""What the presets of tasks have in common: which methods take part, how many seeds, which budgets."""

from typing import Any

from bench.plugins.method import DENSE_SHARES
from bench.plugins.task import Plan

#: Methods that take part if they are asked for: those that zero weights, for which no runtime here becomes faster, but
#: for Budgeted Broadcast; weights alone in few bits, for a smaller file that is not faster; bits that are simulated;
#: one training for all budgets, which answers another question than the best model at each; and two more, for the sake
#: of time.
ASKED_FOR = (
    *("budgeted_broadcast_one_shot", "gradual_pruning", "nm_pruning", "rigl", "unstructured_pruning"),
    *("slimmable", "nested_subspaces", "weight_only", "mixed_precision", "lottery_ticket", "low_rank"),
)

#: In `full` one contestant for each share of the steps that is searched: whatever share is best for a camp, there are
#: random channels cut just then, without which the gap between the camps cannot be split.
CUT_AT_EACH_SHARE = ("magnitude_pruning", "random_pruning")

QUICK = {
    "trials": 2,
    "seeds": 6,
    "budgets": (0.25, 0.125),
    "left_out": (
        *("budgeted_broadcast", "budgeted_broadcast_units", "group_norm", "importance_pruning", "torch_pruning"),
        *("quantization", "quantization_aware", *ASKED_FOR),
    ),
    "also": ("magnitude_pruning:dense_share=0.25", "random_pruning:dense_share=0.25"),
}
FULL = {
    "trials": 8,
    "seeds": 6,
    "budgets": (0.5, 0.25, 0.125, 0.0625, 0.03125),
    "left_out": (*ASKED_FOR, *CUT_AT_EACH_SHARE),
    "also": (
        *("feature_noise+quantization", "stochastic_gates+quantization", "magnitude_pruning+quantization"),
        "group_norm+quantization",
        *(f"{name}:dense_share={share}" for name in CUT_AT_EACH_SHARE for share in DENSE_SHARES),
    ),
}


def smoke_plan(**own: Any) -> Plan:
    """A ``Plan`` of few steps: does it run? The task adds what makes its data and its model tiny.

    Args:
        own: fields of ``Plan``: ``batch_size`` and ``learning_rate``, and whatever is to be other than here.
    """
    return Plan(**{"dense_steps": 20, "finetune_steps": 10, "trials": 2, "left_out": ASKED_FOR, **own})


def quick_plan(**own: Any) -> Plan:
    """A ``Plan`` that can decide the question within minutes.

    Six seeds are the fewest that a paired test can tell apart. Every model is trained with the defaults of its method:
    two in-training methods, one criterion that cuts late and early (which is better depends on the task), the controls.

    Args:
        own: fields of ``Plan``: steps, ``batch_size`` and ``learning_rate``, and whatever is to be other than here.
    """
    return Plan(**{**QUICK, **own})


def full_plan(**own: Any) -> Plan:
    """A ``Plan`` for comparisons that are kept: tuned, down to a thirty-second of the compute.

    With all methods whose costs are real, and Budgeted Broadcast; the criterion and random channels once for each time
    of the cut, as three more trials find those of hardly any budget; the four that matter most, each with integers
    behind it.

    Args:
        own: fields of ``Plan``: steps, ``batch_size`` and ``learning_rate``, and whatever is to be other than here.
    """
    return Plan(**{**FULL, **own})


def paper_plan(**own: Any) -> Plan:
    """A ``Plan`` for published sizes, for hours on a GPU.

    Args:
        own: fields of ``Plan``: steps, ``batch_size``, and whatever is to be other than here.
    """
    return Plan(**{"learning_rate": 1e-3, "trials": 16, "seeds": 3, "left_out": ASKED_FOR, **own})

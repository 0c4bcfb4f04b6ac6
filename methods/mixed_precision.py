"""Mixed precision of a trained network: each layer gets the bits that it needs."""

from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from torch import nn

from bench import BenchError, BudgetError, Method, OnnxModel, Trainer, tune
from methods._bits import Operands
from methods._sensitivity import FLOATS, Choices, added_losses

WIDTHS = (8, 6, 4, 3, 2)
SIMULATED = (
    "Bits are simulated: weights and features are integers in the file, but ONNX Runtime multiplies them as floats, so "
    "that its latency says nothing and is not measured. Hidden states of recurrent layers are floats of 32 bits."
)


@dataclass(frozen=True)
class MixedPrecision(Method):
    """Weights and features of each layer in the bits that hurt least (Hubara et al., arXiv 2006.10518, section 3.4).

    Each operand of each product is rounded alone to each of ``bits``, and what that adds to the loss is measured on
    ``sensitivity_batches`` of train data. Of all choices within ``budget`` the one with the smallest sum is taken, by
    an integer programme as in theirs and in HAWQ-V3 (arXiv 2011.10680). ``budget`` is a share of the bit operations of
    the dense model, whose operands have 32 bits: 8 x 8 bits are 1/16 of it. A single number of ``bits`` is that of all
    layers. All is simulated: nothing becomes faster. The training steps that are left are spent before.
    """

    stage = "post_hoc"
    terminal = True
    promises = "bits"
    budget: float = tune(0.04, low=1 / 64, high=1 / 16, log=True)
    bits: str = "8 6 4 3 2"
    sensitivity_batches: int = 2
    calibration_batches: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        asked, known = str(self.bits).split(), [*map(str, WIDTHS)]  # a single one is read as a number
        if not asked or not {*asked} <= {*known}:
            raise BenchError(f"MixedPrecision: bits {self.bits!r} are not some of {' '.join(known)}, such as 8 4")

    def compress(self, model: nn.Module, trainer: Trainer) -> OnnxModel:
        """Fine-tune with what is left, export, measure what bits add, choose, round."""
        trainer.fit(model)
        exported = trainer.export(model)
        macs, dense = trainer.node_macs(exported), FLOATS**2 * trainer.dense_macs
        widths = sorted({*map(int, str(self.bits).split())}, reverse=True)
        choices = Choices(macs, widths)
        if (smallest := sum(map(min, choices.costs)) / dense) > self.budget:
            raise BudgetError(
                f"budget {self.budget:g} of the dense bit operations is out of reach for mixed precision with "
                f"{self.bits} bits: the smallest that it can reach is {smallest:.5f}; ask for that or more"
            )
        operands = Operands(exported, macs, islice(trainer.batches(), self.calibration_batches))
        batches = [*islice(trainer.batches(), self.sensitivity_batches)]
        added = added_losses(
            operands, widths, model, lambda own: fmean(float(trainer.loss(own, batch)) for batch in batches)
        )
        chosen = choices.least_added(operands, added, self.budget * dense)
        trainer.note(SIMULATED)
        trainer.log(**{f"share_in_{bits}_bits": fmean(own == bits for own in chosen.values()) for bits in widths})
        return operands.file(chosen)

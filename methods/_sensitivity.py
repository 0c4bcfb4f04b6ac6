"""What rounding a part of a network adds to its loss, and the bits of all parts that add least within a budget."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, product

import torch
from torch import Tensor, nn

from bench import OnnxModel
from methods._bits import Operand, Operands
from methods._knapsack import best_choices

FLOATS = 32  # bits
CLOSE = 0.96  # of the budget, that is spent in any case


class Executed(nn.Module):
    """A file as a module that ONNX Runtime executes; what a loss reads of the model beside its outputs is there, too.

    Args:
        file: of the model.
        model: whose own parameters, not those of its layers, this has.
    """

    def __init__(self, file: OnnxModel, model: nn.Module) -> None:
        super().__init__()
        self._session = file.session()
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.from_numpy(self._session.run(None, {"input": inputs.contiguous().numpy()})[0])


#: of an operand with so many bits
Added = Mapping[tuple[Operand, int], float]


def added_losses(
    operands: Operands, widths: Sequence[int], model: nn.Module, loss: Callable[[nn.Module], float]
) -> Added:
    """What each operand alone adds to the loss of the model; never less than with more bits, nor less than nothing.

    Args:
        operands: of the model.
        widths: numbers of bits, falling.
        model: as it was exported.
        loss: of a model.
    """
    whole, found = loss(Executed(operands.file({}), model)), dict[tuple[Operand, int], float]()
    for operand in (each for both in operands.of.values() for each in both):
        alone = [loss(Executed(operands.file({operand: bits}), model)) - whole for bits in widths]
        rising = accumulate(alone, max, initial=0.0)
        next(rising)
        found |= {(operand, bits): own for bits, own in zip(widths, rising, strict=True)}
    return found


class Choices:
    """Every choice of bits for the two operands of each node.

    Args:
        macs: of each node; beyond the first product of a recurrent layer stand those with its hidden state, of floats.
        widths: numbers of bits.

    Attributes:
        costs: bit operations of each node, in the order of ``pairs``.
        pairs: of bits, left and right.
    """

    def __init__(self, macs: Mapping[str, Sequence[int]], widths: Sequence[int]) -> None:
        self.pairs = [*product(widths, repeat=2)]
        self._names = [*macs]
        self.costs = [
            [first * left * right + sum(more) * FLOATS * right for left, right in self.pairs]
            for first, *more in macs.values()
        ]

    def least_added(self, operands: Operands, added: Added, limit: float) -> dict[Operand, int]:
        """The bits of each operand for which the sum of what they add is smallest within ``limit`` bit operations.

        Hubara et al. (arXiv 2006.10518, section 3.4) choose so. What is left of the budget is of no use to anybody, so
        that it is spent wherever the most bits cost as much.
        """
        both = [operands.of[name] for name in self._names]
        losses = [[added[left, a] + added[right, b] for a, b in self.pairs] for left, right in both]
        places = best_choices(self.costs, losses, limit, CLOSE * min(limit, sum(map(max, self.costs))))
        chosen = [self.pairs[place] for place in places]
        return {own[side]: pair[side] for own, pair in zip(both, chosen, strict=True) for side in (0, 1)}

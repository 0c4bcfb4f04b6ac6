"""Pruning in rounds: cut, train, cut again."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from bench import Trainer, Widths


def pruned_in_rounds(
    model: nn.Module,
    trainer: Trainer,
    budget: float,
    rounds: int,
    choose: Callable[[Widths, float], Mapping[str, Tensor]],
) -> nn.Module:
    """The model within a budget, approached geometrically, with the steps that are left divided among the rounds.

    All rounds together are one cycle of the learning rate: a rise of its own in each would undo what the last one did.

    Args:
        model: the dense model.
        trainer: whose steps are spent.
        budget: of the last round.
        rounds: how many.
        choose: the channels of each group to keep within a budget, from the widths of the model as it is by then.
    """
    for done in range(1, rounds + 1):
        widths = trainer.widths(model)
        model = widths.keep(choose(widths, budget ** (done / rounds)))
        trainer.fit(model, trainer.steps_left // (rounds - done + 1), part=((done - 1) / rounds, done / rounds))
    return model

"""Pruning in rounds: cut, train, cut again."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from bench import Trainer, Widths

#: of the steps, those by whose end the last round has cut: what is cut when the learning rate is nearly down stays hurt
CUTTING = 0.25


class Round(NamedTuple):
    """What to cut to, and how to train then."""

    budget: float
    steps: int
    part: tuple[float, float]  # of the learning rate's one cycle: a rise in each round would undo the one before


def rounds_of(steps: int, budget: float, count: int) -> Iterator[Round]:
    """Rounds that approach a budget geometrically, with cuts evenly spaced in the first quarter of the steps."""
    cuts = [round(CUTTING * steps * done / count) for done in range(count)]
    for done, (start, end) in enumerate(zip(cuts, [*cuts[1:], steps], strict=True), 1):
        yield Round(budget ** (done / count), end - start, (start / max(1, steps), end / max(1, steps)))


def pruned_in_rounds(
    model: nn.Module,
    trainer: Trainer,
    budget: float,
    rounds: int,
    choose: Callable[[Widths, float], Mapping[str, Tensor]],
) -> nn.Module:
    """The model within a budget, cut and trained in rounds.

    Args:
        model: the dense model.
        trainer: whose steps are spent.
        budget: of the last round.
        rounds: how many.
        choose: the channels of each group to keep within a budget, from the widths of the model as it is by then.
    """
    for turn in rounds_of(trainer.steps_left, budget, rounds):
        widths = trainer.widths(model)
        model = widths.keep(choose(widths, turn.budget))
        trainer.fit(model, min(turn.steps, trainer.steps_left), part=turn.part)  # scores may have cost some
    return model

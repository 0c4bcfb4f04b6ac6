"""Pruning in rounds: cut, train, cut again."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from bench import Trainer, Widths

#: of the steps, those by whose end the last round has cut: what is cut when the learning rate is nearly down stays hurt
CUTTING = 0.5


class Round(NamedTuple):
    """What to cut to, and how to train then."""

    budget: float
    steps: int
    part: tuple[float, float]  # of the learning rate's one cycle: a rise in each round would undo the one before


def rounds_of(steps: int, budget: float, count: int) -> Iterator[Round]:
    """Rounds that approach a budget geometrically, with cuts evenly spaced in the first half of the steps."""
    cuts = [round(CUTTING * steps * done / count) for done in range(count)]
    for done, (start, end) in enumerate(zip(cuts, [*cuts[1:], steps], strict=True), 1):
        yield Round(budget ** (done / count), end - start, (start / max(1, steps), end / max(1, steps)))


def pruned_in_rounds(
    model: nn.Module,
    trainer: Trainer,
    budget: float,
    rounds: int,
    score: Callable[[Widths], Mapping[str, Tensor]],
    *,
    choose: Callable[[Widths, Mapping[str, Tensor], float], Mapping[str, Tensor]] = Widths.strongest,
) -> nn.Module:
    """The model within a budget, cut and trained in rounds.

    Groups are compared by the scores of their channels, of which only ratios mean something. A group that has lost its
    weak channels keeps the mean that the others had: with a new mean of its own it would lose as many again, each time.
    So rounds without training in between come to what one round does.

    Args:
        model: the dense model.
        trainer: whose steps are spent.
        budget: of the last round.
        rounds: how many.
        score: of each channel of each group, (size,), at least 0, from the widths of the model as it is by then.
        choose: the channels of each group to keep, from their scores, within a budget.
    """
    means: dict[str, Tensor] = {}
    for turn in rounds_of(trainer.steps_left, budget, rounds):
        widths = trainer.widths(model)
        found = score(widths)
        scores = {n: own * (means[n] / own.mean().clamp(min=1e-30)) if n in means else own for n, own in found.items()}
        kept = choose(widths, scores, turn.budget)
        means = {name: scores[name][own].mean() for name, own in kept.items()}
        model = widths.keep(kept)
        trainer.fit(model, min(turn.steps, trainer.steps_left), part=turn.part)  # scores may have cost some
    return model

"""Torch-Pruning's importances, asked about the groups of a width graph (Fang et al., arXiv 2301.12900).

An importance of Torch-Pruning scores a group of its own dependency graph: layers, how each is pruned, and which entries
belong together. The groups of a width graph hold the same, for more networks; here they are handed over in that form.
Where version 1.6.1 computes something else than it says, what it says is computed:

- its Hessian keeps the gradients of the last sample only (``accumulate_grad`` looks for a name among parameters);
- its Taylor expansion passes over batch norms (it looks for group norms in their place);
- its FPGM measures distances between |w|**p, not between filters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from bench import Batch, Declined, Part, Trainer, Widths

WHOLE = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.LayerNorm)  # layers that it knows


@dataclass(frozen=True)
class _Item:
    """A layer of a group, how it is pruned, and one entry for each channel, as importances read it."""

    dep: Any
    idxs: list[int]
    root_idxs: list[int]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dep, self.idxs))


class _Fpgm(tp.importance.FPGMImportance):  # type: ignore[misc]  # it ships no types
    """The sum of a filter's distances to all others of its layer (He et al., CVPR 2019), over the layers of a group."""

    @torch.no_grad()
    def __call__(self, group: list[_Item]) -> Tensor | None:
        rows = [(_rows(item), item.root_idxs) for item in group if not isinstance(item.dep.layer, WHOLE[2:])]
        if not rows:
            return None
        found = self._reduce([torch.cdist(own[None], own[None])[0].sum(0) for own, _ in rows], [at for _, at in rows])
        scores: Tensor = self._normalize(found, self.normalizer)
        return scores


IMPORTANCES = {
    "group_norm": tp.importance.GroupMagnitudeImportance,
    "magnitude": lambda: tp.importance.GroupMagnitudeImportance(group_reduction="first"),
    "taylor": tp.importance.GroupTaylorImportance,
    "hessian": tp.importance.GroupHessianImportance,
    "lamp": tp.importance.LAMPImportance,
    "fpgm": _Fpgm,
    "bn_scale": tp.importance.BNScaleImportance,
    "random": tp.importance.RandomImportance,
}
CRITERIA = tuple(IMPORTANCES)


def importances(criterion: str, widths: Widths, trainer: Trainer, batches: int) -> dict[str, Tensor]:
    """How important each channel is, (size,), by group; groups that the criterion says nothing of are left out.

    Args:
        criterion: one of ``CRITERIA``; ``magnitude`` is the norm of the first layer that makes the channels alone.
        widths: whose groups are scored; the gradients of its model are cleared.
        trainer: charged with a step for each gradient that is computed.
        batches: of train data, for ``taylor``; as many single examples, for ``hessian``.

    Raises:
        Declined: it says nothing of any group, as ``bn_scale`` in a network without batch norm.
    """
    importance: Any = IMPORTANCES[criterion]()
    if criterion == "taylor":
        _gradients(widths.model, trainer, islice(trainer.batches(), batches))
    elif criterion == "hessian":
        importance._accu_grad = _squared_gradients(widths.model, trainer, batches)
        importance._counter = dict.fromkeys(importance._accu_grad, batches)
        importance([])  # it moves them to where it reads them when it is first called
    scores = {}
    for group in widths.groups:
        parts = [*group.producers, *(part for part in group.parts if part not in group.producers)]
        items = [item for part in parts for item in _items(widths.model, part, group.size, criterion)]
        if items and (found := importance(items)) is not None:
            scores[group.name] = found.detach().float()
    widths.model.zero_grad(set_to_none=True)
    if not scores:
        raise Declined(f"criterion {criterion} says nothing of any layer of this network")
    return scores


def _items(model: nn.Module, part: Part, size: int, criterion: str) -> Iterator[_Item]:
    """A part as importances take it: as many items as a channel has entries in it; none for biases and buffers."""
    parameter = dict(model.named_parameters()).get(part.tensor)
    if parameter is None or "weight" not in part.parameter:
        return
    layer = model.get_submodule(part.layer)
    if not isinstance(layer, WHOLE):
        if parameter.dim() < 2:  # of an instance or group norm, slopes of a PReLU: Torch-Pruning passes over them, too
            return
        # of a recurrent or attention layer, whose weights are those of linear ones
        layer = nn.Linear(1, 1, bias=False)
        layer.weight = parameter
    prune = _pruned_by(layer, part.axis, criterion)
    dep = SimpleNamespace(layer=layer, pruning_fn=prune, handler=prune, target=SimpleNamespace(module=layer))
    entries = part.by_channel.reshape(size, -1)
    for own in entries.T:
        order = own.argsort()  # some importances sort the entries, and not the channels along with them
        yield _Item(dep, own[order].tolist(), order.tolist())


def _pruned_by(layer: nn.Module, axis: int, criterion: str) -> Any:
    """The function by which Torch-Pruning would prune this axis of a layer's weight."""
    if isinstance(layer, nn.LayerNorm):
        return tp.prune_layernorm_out_channels
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return tp.prune_groupnorm_out_channels if criterion == "taylor" else tp.prune_batchnorm_out_channels
    makes = axis == int(getattr(layer, "transposed", False))
    if isinstance(layer, nn.Linear):
        return tp.prune_linear_out_channels if makes else tp.prune_linear_in_channels
    assert isinstance(layer, nn.modules.conv._ConvNd)
    if layer.groups == layer.out_channels > 1:
        return tp.prune_depthwise_conv_out_channels
    return tp.prune_conv_out_channels if makes else tp.prune_conv_in_channels


def _rows(item: _Item) -> Tensor:
    """The weights of each channel, (size, n)."""
    layer, makes = item.dep.layer, item.dep.pruning_fn in (tp.prune_conv_out_channels, tp.prune_linear_out_channels)
    weight = layer.weight.detach()
    axis = int(makes == getattr(layer, "transposed", False))
    rows: Tensor = weight if item.dep.pruning_fn is tp.prune_depthwise_conv_out_channels else weight.movedim(axis, 0)
    return rows[item.idxs].flatten(1)


def _gradients(model: nn.Module, trainer: Trainer, batches: Iterator[Batch]) -> None:
    model.eval().zero_grad(set_to_none=True)
    for batch in batches:
        trainer.loss(model, batch).backward()  # type: ignore[no-untyped-call]


def _squared_gradients(model: nn.Module, trainer: Trainer, examples: int) -> dict[nn.Parameter, Tensor]:
    """Sums of squared gradients over single examples."""
    single = (Batch(b.inputs[i : i + 1], b.targets[i : i + 1]) for b in trainer.batches() for i in range(len(b.inputs)))
    squares: dict[nn.Parameter, Tensor] = {}
    for example in islice(single, examples):
        _gradients(model, trainer, iter([example]))
        for parameter in model.parameters():
            if parameter.grad is not None:
                squares[parameter] = squares.get(parameter, 0) + parameter.grad.square()
    return squares

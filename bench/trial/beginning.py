"""Training that several trials share, done by the first one: a plain beginning, or one network for all budgets."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import nn

from bench.export import WEIGHTS
from bench.storage.cache import cached_folder
from bench.storage.files import write_json, write_whole

KNOWN = "known.json"  # beside the weights: what their training cost, and how it went


@dataclass(frozen=True)
class Spent:
    """What it cost whoever trained it, and its learning curve."""

    steps: int  # of the optimiser
    asked: int  # as a method counts them
    macs: float
    cpu_s: float
    curve: list[dict[str, float]]


@dataclass(frozen=True)
class Shared:
    """The cache of the trainings of one fresh model.

    Attributes:
        cache: folder of caches.
        kind: of these trainings, in the names of their folders.
        named: all that decides the training, apart from its steps; JSON-serialisable.
        fresh: makes the model that it begins with.
    """

    cache: Path
    kind: str
    named: Mapping[str, Any]
    fresh: Callable[[], nn.Module]

    def of(self, model: nn.Module) -> "Shared":
        """Those of them that begin with this model, as it is now."""
        named = {**self.named, "begins_with": _digest(model)}
        return replace(self, named=named, fresh=partial(copy.deepcopy, model))

    def fits(self, model: nn.Module) -> bool:
        """Whether a method has left its model as it was: no other weights, nothing frozen, no hooks."""
        return _digest(model) == _digest(self.fresh())

    def load(self, model: nn.Module, steps: int, fit: Callable[[nn.Module], Spent]) -> Spent:
        """Give the model the weights it has after this training with these steps left; left in eval mode.

        Whoever comes first trains them by ``fit``: a fresh model, since others will go on with it.

        Returns:
            What it cost the one who trained it.
        """

        def build(folder: Path) -> None:
            fresh = self.fresh()
            spent = fit(fresh)
            keep(folder, fresh, asdict(spent))

        folder = cached_folder(self.cache, self.kind, {**self.named, "steps": steps}, build)
        return Spent(**load_kept(folder, model.eval()))


def keep(folder: Path, model: nn.Module, known: Mapping[str, Any]) -> None:
    """Write a trained model, and what is known of it, into a cached folder."""
    write_whole(folder / WEIGHTS, save(model.state_dict()))
    write_json(folder / KNOWN, known)


def load_kept(folder: Path, model: nn.Module) -> dict[str, Any]:
    """Give a model the weights that ``keep`` has written there; returns what is known of them."""
    model.load_state_dict(load_file(folder / WEIGHTS))
    known: dict[str, Any] = json.loads((folder / KNOWN).read_text())
    return known


def _digest(model: nn.Module) -> str:
    """Names all of a model that decides its training."""
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    hooked = [name for name, module in model.named_modules() if module._forward_hooks or module._forward_pre_hooks]
    return hashlib.sha256(save(model.state_dict()) + json.dumps([frozen, hooked]).encode()).hexdigest()

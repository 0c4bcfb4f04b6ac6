"""The plain beginning of a training, which methods may share: done once for each seed, charged to each of them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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
    """What a beginning cost whoever trained it, and its learning curve."""

    steps: int
    macs: float
    cpu_s: float
    curve: list[dict[str, float]]


class SharedBeginning:
    """The cache of the beginnings of one fresh model.

    Args:
        cache: folder of caches.
        named: all that decides the training, apart from its steps; JSON-serialisable.
        fresh: makes the model that it begins with.
    """

    def __init__(self, cache: Path, named: Mapping[str, Any], fresh: Callable[[], nn.Module]) -> None:
        self._cache, self._named, self._fresh = cache, named, fresh

    def fits(self, model: nn.Module) -> bool:
        """Whether a method has left its model as it was: no other weights, nothing frozen, no hooks."""
        return _digest(model) == _digest(self._fresh())

    def load(self, model: nn.Module, steps: int, fit: Callable[[nn.Module], Spent]) -> Spent:
        """Give the model the weights it has after these steps; left in eval mode.

        Whoever comes first trains them by ``fit``: a model of its own, which no method has had in its hands, since
        others will begin with it.

        Returns:
            What it cost the one who trained it.
        """

        def build(folder: Path) -> None:
            fresh = self._fresh()
            spent = fit(fresh)
            keep(folder, fresh, asdict(spent))

        folder = cached_folder(self._cache, "beginning", {**self._named, "steps": steps}, build)
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

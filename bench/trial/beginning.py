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

KNOWN = "beginning.json"  # beside the weights: what it cost


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
        fresh: the model that it begins with.
    """

    def __init__(self, cache: Path, named: Mapping[str, Any], fresh: nn.Module) -> None:
        self._cache, self._named, self._fresh = cache, named, _digest(fresh)

    def fits(self, model: nn.Module) -> bool:
        """Whether a model is still the fresh one."""
        return _digest(model) == self._fresh

    def train(self, model: nn.Module, steps: int, fit: Callable[[], Spent]) -> Spent | None:
        """Give the model the weights it has after these steps, by ``fit`` if nobody did so before.

        Returns:
            What it cost the one who trained it; None if that was done now.
        """
        trained = False

        def build(folder: Path) -> None:
            nonlocal trained
            spent, trained = fit(), True
            write_whole(folder / WEIGHTS, save(model.state_dict()))
            write_json(folder / KNOWN, asdict(spent))

        folder = cached_folder(self._cache, "beginning", {**self._named, "steps": steps}, build)
        if trained:
            return None
        model.load_state_dict(load_file(folder / WEIGHTS))
        model.eval()
        return Spent(**json.loads((folder / KNOWN).read_text()))


def _digest(model: nn.Module) -> str:
    return hashlib.sha256(save(model.state_dict())).hexdigest()

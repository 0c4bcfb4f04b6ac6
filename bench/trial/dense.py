"""The dense models that post-hoc methods start from: one trunk a seed, and a branch for each share of the steps."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from bench.export.model import Predictor, export_onnx
from bench.plugins.own_model import dense_model
from bench.plugins.task import Progress, Task
from bench.storage.cache import cached_folder
from bench.trial.beginning import keep, load_kept
from bench.trial.evaluate import scores_of
from bench.trial.record import Scores
from bench.trial.repeatable import seed_everything, stream_seed
from bench.trial.setting import Setting
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs

#: of the steps of a starting point, how many bring the learning rate down (Hu et al. 2024, arXiv 2404.06395)
DECAY = 0.2


@dataclass(frozen=True)
class Start:
    """A dense model after a share of all steps, and what it would have cost to train it alone."""

    model: nn.Module
    steps: int
    train_macs: int | None
    train_cpu_s: float
    dev: Scores


def fresh_model(task: Task, seed: int) -> nn.Module:
    """The task's dense model, initialised from the seed."""
    torch.manual_seed(stream_seed(seed, "init"))
    return dense_model(task)


def train_dense(setting: Setting, seed: int, shares: Sequence[float], report: Progress) -> list[Path]:
    """Job: the cached folders of a seed's dense models after these shares of all steps, made unless they are there.

    One trunk is trained at a constant rate, after a warm-up. Where the last ``DECAY`` of a share would begin, its
    branch leaves the trunk and brings the rate down to nothing. So each share is a finished training of its own
    length, and all of them cost little more than the longest. A branch does not depend on the other shares.
    """

    @cache
    def trunk() -> _Trunk:
        return _Trunk(setting, seed, shares, report)

    def build(folder: Path, share: float) -> None:
        model, known = trunk().branch(share)
        keep(folder, model, known)

    named = {**replace(setting, distill=False).made_from, "seed": seed}  # a teacher has none itself
    root = Path(setting.cache)
    return [cached_folder(root, "dense", {**named, "share": share}, partial(build, share=share)) for share in shares]


def start_at(setting: Setting, seed: int, share: float, report: Progress) -> Start:
    """The dense model of a seed after this share of all steps."""
    (folder,) = train_dense(setting, seed, (share,), report)
    model = dense_model(setting.build_task())
    return Start(model, **load_kept(folder, model))


class _Trunk:
    """The training that starting points branch off from."""

    def __init__(self, setting: Setting, seed: int, shares: Sequence[float], report: Progress) -> None:
        self._task, self._plan, self._seed, self._hardware = setting.build_task(), setting.plan, seed, setting.hardware
        self._model = fresh_model(self._task, seed)
        self._macs = count_macs(self._model, self._task.example_input())
        self._left: dict[int, tuple[nn.Module, int | None, float]] = {}  # copies of the trunk, by step
        leaves = {self._leaves(share) for share in shares}
        trainer = self._trainer(max(leaves), seed, report)
        started = time.process_time()

        def after_step(step: int) -> None:
            if step in leaves:
                cpu_s = time.process_time() - started
                self._left[step] = copy.deepcopy(self._model), trainer.macs_done, cpu_s

        trainer.fit(self._model, after_step=after_step, schedule="warm_up")

    def branch(self, share: float) -> tuple[nn.Module, dict[str, object]]:
        """The model after this share of the steps, with the learning rate brought down, and the fields of ``Start``."""
        steps, leaves = self._plan.steps_of(share), self._leaves(share)
        left, macs, cpu_s = self._left[leaves]
        model = copy.deepcopy(left)  # in a short plan two shares may leave at the same step
        seed_everything(stream_seed(self._seed, "decay"))
        trainer, started = self._trainer(steps - leaves, stream_seed(self._seed, "decay")), time.process_time()
        trainer.fit(model, schedule="decay")
        cpu_s += time.process_time() - started
        total = None if macs is None or trainer.macs_done is None else macs + trainer.macs_done
        predict = Predictor(export_onnx(model, self._task.example_input()))
        dev = scores_of(self._task, self._task.evaluate(predict, "dev"))
        return model, {"steps": steps, "train_macs": total, "train_cpu_s": cpu_s, "dev": dev}

    def _leaves(self, share: float) -> int:
        return max(1, round((1 - DECAY) * self._plan.steps_of(share)))

    def _trainer(self, steps: int, seed: int, report: Progress = lambda fraction, note: None) -> Trainer:
        plan, macs, hardware = self._plan, self._macs, self._hardware
        return Trainer(self._task, plan, steps=steps, seed=seed, dense_macs=macs, hardware=hardware, report=report)

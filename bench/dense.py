"""The dense model that all post-hoc methods of one seed start from: trained once, kept on disk."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from bench.cache import cached_folder
from bench.files import write_whole
from bench.measure import Predictor, count_macs, export_onnx
from bench.task import Plan, Task
from bench.train import CPU, Hardware, Trainer, stream_seed


def fresh_model(task: Task, seed: int) -> nn.Module:
    """The task's dense model, initialised from the seed."""
    torch.manual_seed(stream_seed(seed, "init"))
    return task.build_model()


def dense_checkpoint(
    task: Task,
    plan: Plan,
    seed: int,
    made_from: dict[str, object],
    *,
    on_progress: Callable[[int, float], None],
    hardware: Hardware = CPU,
) -> Path:
    """The folder with the weights and the dev scores of the dense model, trained for ``plan.dense_steps``.

    Args:
        task: what it is trained on.
        plan: the effort.
        seed: initialisation and order of the data.
        made_from: whatever else decides the weights (digests of data and code); it names the folder.
        on_progress: called with steps done and the loss.
        hardware: what it is trained on.
    """

    def build(folder: Path) -> None:
        model = fresh_model(task, seed)
        macs = count_macs(model, task.example_input())
        trainer = Trainer(
            task,
            plan,
            steps=plan.dense_steps,
            seed=seed,
            dense_macs=macs,
            hardware=hardware,
            on_progress=on_progress,
        )
        started = time.process_time()
        trainer.fit(model)
        spent = {"train_macs": trainer.macs_done, "train_cpu_s": time.process_time() - started}
        write_whole(folder / "model.safetensors", save(model.state_dict()))
        dev = task.evaluate(Predictor(export_onnx(model, task.example_input())), "dev")
        (folder / "dense.json").write_text(json.dumps({"dev": dev, "curve": trainer.curve, "macs": macs, **spent}))

    return cached_folder(task.cache, "dense", {**made_from, "seed": seed}, build)


def load_dense(task: Task, folder: Path) -> nn.Module:
    """A copy of the trained dense model."""
    model = task.build_model()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model

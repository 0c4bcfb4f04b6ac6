"""A finished model, built again from disk: the task's dense model, the channels that were kept, the weights."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from bench.files import write_whole
from bench.task import Task
from bench.widths import Widths, kept_channels

WEIGHTS = "model.safetensors"
RECIPE = "recipe.json"


def save_module(model: nn.Module, task: Task, folder: Path) -> None:
    """Leave the weights of a finished model in a folder, with the recipe that ``rebuilt_model`` follows."""
    write_whole(folder / WEIGHTS, save({n: t.detach().cpu().contiguous() for n, t in model.state_dict().items()}))
    recipe = {
        "how": "the dense model of the task, of which only these channels are kept, step by step; then the weights",
        "task": type(task).__name__,
        "fields": {name: str(value) for name, value in task.identity().items()},
        "kept_channels": kept_channels(model),
        "weights": WEIGHTS,
    }
    write_whole(folder / RECIPE, json.dumps(recipe) + "\n")


def rebuilt_model(task: Task, folder: Path) -> nn.Module | None:
    """The PyTorch module of a finished trial, in eval mode, from its recipe and its weights.

    Args:
        task: the task that it was trained on.
        folder: of the trial.

    Returns:
        None where there is no module (integer models exist as ONNX files only), or where its weights are not those of
        the task's model with some channels less, so that only whoever made it knows its structure.
    """
    if not (folder / WEIGHTS).exists():
        return None
    recipe: dict[str, Any] = json.loads((folder / RECIPE).read_text())
    with torch.random.fork_rng(devices=[]):
        model = task.build_model()
    for kept in recipe["kept_channels"]:
        widths = Widths(model, task.example_input(), input_axis=task.input_width_axis)
        model = widths.keep({name: torch.tensor(channels) for name, channels in kept.items()})
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError:  # other names or shapes: a structure of its own
        return None
    return model.eval()

"""The models of the task, and how wide they are at each size."""

from collections.abc import Callable
from functools import partial

from torch import nn

from bench import BenchError
from tasks.vad.crnn import Crnn
from tasks.vad.transformer import Transformer

CONTEXT = 100  # frames (1 s) that each attention of the causal transformer sees
_TRANSFORMERS = {
    "tiny": partial(Transformer, width=24, heads=12),
    "small": partial(Transformer, width=40, heads=8),
    "medium": partial(Transformer, width=56, heads=8),
    "paper": partial(Transformer, width=80, heads=8),
}
#: models by name and size; a builder takes the number of mel bands
MODELS: dict[str, dict[str, Callable[[int], nn.Module]]] = {
    "crnn": {
        "tiny": partial(Crnn, channels=8, hidden=16),
        "small": partial(Crnn, channels=24, hidden=48),
        "medium": partial(Crnn, channels=48, hidden=128),
        "paper": partial(Crnn, channels=80, hidden=256),
    },
    "transformer": {**_TRANSFORMERS},
    "causal": {size: partial(build, context=CONTEXT) for size, build in _TRANSFORMERS.items()},
}
SIZES = tuple(MODELS["crnn"])
MOST_BANDS = 256


def check_model(model: str, size: str, bands: int) -> None:
    """There is such a model, and it comes in this size, for as many mel bands."""
    if model not in MODELS:
        raise BenchError(f"vad has no model {model!r}; there are: {', '.join(MODELS)}")
    if size not in SIZES:
        raise BenchError(f"vad has no size {size!r} of its models; there are: {', '.join(SIZES)}")
    if not 1 <= bands <= MOST_BANDS:
        raise BenchError(f"vad: bands is {bands}, expected 1 to {MOST_BANDS}")

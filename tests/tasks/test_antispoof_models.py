"""The networks of the anti-spoofing task: what they cost by formula, and that methods can act on all of it."""

import pytest
import torch

from bench import Widths, count_macs
from tasks.antispoof import MODELS, Antispoof
from tasks.antispoof.cnn_tdnn import CnnTdnn


def cnn_tdnn_macs(bands: int, width: int, frames: int, layers: int = 3) -> int:
    """Kernel x inputs x outputs x positions of every layer."""
    half, rows = -(-frames // 2), -(-bands // 3)
    stem = 7 * 5 * width * rows * half + 9 * width * 2 * width * -(-rows // 2) * half
    channels = 6 * width
    over_time = 3 * channels * (2 * width * -(-rows // 2) + (layers - 1) * channels) * half
    return stem + over_time + 2 * channels * 2


@pytest.mark.parametrize(("bands", "width", "frames"), [(60, 16, 100), (60, 4, 64), (33, 5, 51)])
def test_what_the_default_model_costs(bands: int, width: int, frames: int) -> None:
    assert count_macs(CnnTdnn(bands, width), torch.zeros(1, bands, frames)) == cnn_tdnn_macs(bands, width, frames)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_made_ten_times_smaller(model: str) -> None:
    task = Antispoof(model=model, width=8)
    widths = Widths(task.build_model(), task.example_input())
    assert widths.smallest_budget < 0.1


def test_a_channel_of_the_stem_is_one_of_each_band_behind_it() -> None:
    groups = {g.name: g.size for g in Widths(CnnTdnn(60, 4), torch.zeros(1, 60, 40)).groups}
    assert groups == {"stem.0": 4, "stem.3": 8, "layers.0.0": 24, "layers.1.0": 24, "layers.2.0": 24}

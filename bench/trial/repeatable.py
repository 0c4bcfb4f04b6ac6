"""What makes a training the same when it is repeated: seeds, and the hardware and precision that it runs with."""

import os
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

#: independent random streams that all follow from the one seed of a trial
_STREAMS = {"init": 0, "order": 1, "method": 2, "calibration": 3, "decay": 4, "beginning": 5}


def stream_seed(seed: int, stream: str) -> int:
    """The seed of one named random stream of a trial."""
    return int(np.random.SeedSequence([seed, _STREAMS[stream]]).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed all global generators: PyTorch's, NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@dataclass(frozen=True)
class Hardware:
    """What training runs on; models are there while they train, and on the CPU at all other times."""

    device: str = "cpu"  # or cuda, cuda:1
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16 trains with automatic mixed precision

    def autocast(self) -> torch.autocast:
        device = torch.device(self.device).type
        return torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16")

    def make_repeatable(self) -> None:
        """Make a GPU add up in the same order each time, for the rest of the process; one thread of a CPU does anyway.

        See https://docs.pytorch.org/docs/stable/notes/randomness.html.
        """
        if torch.device(self.device).type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            torch.use_deterministic_algorithms(True, warn_only=True)


CPU = Hardware()

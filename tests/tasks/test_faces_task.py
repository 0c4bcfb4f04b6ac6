"""The faces task as a whole: data that do not depend on workers, batches, and a network that learns who is who."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import SPLITS
from bench.trial.trainer import Trainer
from tasks.faces import Faces


def quiet(fraction: float, note: str) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    small = {"pixels": 24, "people": (80, 16, 24), "pictures": (8, 4, 3), "group": 8, "batch_size": 32}
    task = Faces(**small, cache=tmp_path_factory.mktemp("cache"))  # type: ignore[arg-type]
    task.prepare(2, quiet)
    return task


def test_one_worker_renders_the_same_faces_as_two(task: Faces, tmp_path: Path) -> None:
    assert replace(task, cache=tmp_path).prepare(1, quiet) == task.prepare(2, quiet)


def test_batches_have_pictures_of_whom_they_say(task: Faces) -> None:
    """Mirrored or not, training pictures are of their person; others have numbers behind those of train."""
    batch, album = next(task.batches("train", 0)), task._album("train")
    whole = album.pictures.astype(np.float32) / 127.5 - 1
    for picture, who in zip(batch.inputs.numpy(), batch.targets.tolist(), strict=True):
        own = whole[album.people == who]
        apart = [np.abs(own - one).max((1, 2, 3)).min() for one in (picture, picture[:, :, ::-1])]
        assert min(apart) == 0 < max(apart)
    numbers = {split: [b.targets for b in task.batches(split, 0)] for split in SPLITS[1:]}
    assert torch.cat(numbers["dev"]).tolist() == np.arange(80, 96).repeat(4).tolist()
    assert torch.cat(numbers["eval"]).tolist() == np.arange(96, 120).repeat(3).tolist()


def test_training_teaches_who_is_who_among_strangers(task: Faces) -> None:
    torch.manual_seed(0)
    model = task.build_model().eval()

    def scores() -> dict[str, float]:
        with torch.no_grad():
            return task.evaluate(model, "dev")

    before = scores()
    Trainer(task, task.presets["quick"], steps=120, seed=0, dense_macs=1).fit(model)
    after = scores()
    assert list(after) == ["eer_percent", "eer_percent/missed at rank 1"]
    assert all(after[name] < before[name] - 8 for name in after)

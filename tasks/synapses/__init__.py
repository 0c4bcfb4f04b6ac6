"""Synapse detection: which voxels of volume electron microscopy are of a synaptic cleft?"""

import math
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench import (
    Batch,
    BenchError,
    ItemScores,
    Metric,
    Plan,
    Predict,
    Progress,
    Split,
    Task,
    cached_folder,
    folder_digest,
    per_split,
    soft_divergence,
)
from tasks.synapses.cremi import Cremi
from tasks.synapses.presets import FULL, PAPER, QUICK, SMOKE
from tasks.synapses.scoring import VoxelScores, breakdowns, counted, f1_by_level, items_of, levels_of, matched
from tasks.synapses.tiles import log_odds, scored_batches, training_batches
from tasks.synapses.tissue import Shape
from tasks.synapses.unet import MODELS, WIDTHS, check_model
from tasks.synapses.volumes import Tissue, Volume, load

EMBEDDED = "embedded"
WEIGHT = 2.0  # of a voxel of a cleft in the cross-entropy: crops have some 2 % of them


@dataclass(frozen=True)
class Synapses(Task):
    """Find synaptic clefts in volumes of thick sections, CREMI style; average precision over voxels in percent.

    Attributes:
        data: ``embedded`` (generated; says nothing about real tissue), or CREMI's HDF5 files: one, or a folder of them.
        model: ``unet`` (transposed convolutions, instance norm) or ``residual`` (resizing, group norm).
        size: how wide and how deep the model is.
        crop: sections, rows and columns of what is trained on and scored at once, and what costs are quoted for.
        voxel_nm: thickness of a section, height and width of a pixel; files of finer voxels are binned to these.
        shape: of an embedded volume.
        volumes: of them in train, dev, eval.
        corpus_seed: of the embedded volumes.
    """

    metric = Metric("pr_auc", unit="percent", direction="maximize", guess=0.0)  # targets are rare
    work_unit = "crop"
    presets: ClassVar[dict[str, Plan]] = {"smoke": SMOKE, "quick": QUICK, "full": FULL, "paper": PAPER}

    data: str = EMBEDDED
    model: str = "unet"
    size: str = "small"
    crop: Shape = (6, 48, 48)
    voxel_nm: tuple[float, float, float] = (40, 8, 8)
    shape: Shape = (11, 120, 120)
    volumes: tuple[int, int, int] = (24, 6, 16)
    corpus_seed: int = 0

    def check(self) -> None:
        """Crops suit the model, and the volumes are large enough for them."""
        if min(self.crop) < 1:
            raise BenchError(f"crop is {self.crop}: expected sections, rows and columns, 1 at least of each")
        if not all(0 < length < math.inf for length in self.voxel_nm):
            raise BenchError(f"voxel_nm is {self.voxel_nm}: expected thickness, height and width in nm")
        check_model(self.model, self.size, self.crop)
        self._source.check()

    def prepare(self, workers: int, progress: Progress) -> str:
        """Generate the embedded volumes, or bin those of the files and divide them; a digest of all voxels."""
        return folder_digest(self._prepared(workers, progress))

    def corpora(self) -> list[Path]:
        """The file or folder that the user has named."""
        return [] if self.data == EMBEDDED else [Path(self.data)]

    def disjoint(self, split: Split) -> Mapping[str, Collection[Hashable]]:
        """Embedded volumes, or sections of files."""
        return {"sections": self._source.parts(split)}

    def build_model(self) -> nn.Module:
        """Either U-Net, from (B, 1, D, H, W) grey values to log odds of the same shape."""
        return MODELS[self.model](WIDTHS[self.size])

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Random crops for train, overlapping tiles in order for dev and eval; greys lie in -1 to 1, clefts are 1."""
        volumes = self._volumes(split)
        if split == "train":
            return training_batches(volumes, self.batch_size, self.crop, seed)
        return scored_batches(volumes, self.crop)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy and soft Dice (Milletari et al., arXiv 1606.04797) over the voxels of the batch."""
        outputs = model(batch.inputs)
        likely = outputs.sigmoid()
        overlap = 2 * (likely * batch.targets).sum() / (likely.sum() + batch.targets.sum() + 1)
        balanced = functional.binary_cross_entropy_with_logits(
            outputs, batch.targets, pos_weight=outputs.new_tensor(WEIGHT)
        )
        return balanced + 0.5 * (1 - overlap)  # type: ignore[no-any-return]

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Divergence of the softened answers of all voxels."""
        return soft_divergence(*(torch.cat([torch.zeros_like(own), own], 1) for own in (outputs, teacher)))

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """Average precision over the voxels, then F1 of voxels and of whole clefts at a threshold chosen on dev."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> VoxelScores:
        """Voxels by block and log odds, and the clefts that are found at the threshold of largest F1 on dev."""
        counts, levels = self._counted(predict, split)
        threshold = int(f1_by_level(counts if split == "dev" else self._counted(predict, "dev")[0]).argmax())
        pairs = zip(levels, self._volumes(split), strict=True)
        found = np.sum([matched(own >= threshold, volume.clefts) for own, volume in pairs], axis=0)
        return items_of(counts, threshold, (int(found[0]), int(found[1]), int(found[2])))

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """Average precision; F1 of voxels and of clefts."""
        assert isinstance(items, VoxelScores)
        return super().summary(items, split) | breakdowns(items, self.metric.column)

    def example_input(self) -> Tensor:
        """One crop: (1, 1, D, H, W)."""
        return torch.zeros(1, 1, *self.crop)

    def _counted(self, predict: Predict, split: Split) -> tuple[NDArray[np.int64], list[NDArray[np.uint8]]]:
        volumes = self._volumes(split)
        levels = [levels_of(log_odds(predict, volume, self.crop)) for volume in volumes]
        return counted(zip(levels, (volume.clefts for volume in volumes), strict=True)), levels

    @cached_property
    def _source(self) -> Tissue | Cremi:
        if self.data == EMBEDDED:
            return Tissue(self.corpus_seed, self.shape, self.volumes, self.crop)
        return Cremi(Path(self.data), self.voxel_nm, self.crop)

    def _prepared(self, workers: int = 1, progress: Progress = lambda fraction, note: None) -> Path:
        return cached_folder(
            self.cache,
            "synapses",
            self._source.identity(),
            lambda folder: self._source.write(folder, workers, lambda done: progress(done, "preparing volumes")),
        )

    @per_split
    def _volumes(self, split: Split) -> list[Volume]:
        return load(self._prepared(), split)

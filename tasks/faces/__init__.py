"""Face identification: are two pictures of one person, whom training has not seen?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import (
    SPLITS,
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
)
from tasks._epochs import shuffled_epochs
from tasks.faces.album import Album, Pictures, Source, write_albums
from tasks.faces.arcface import arcface, with_unseen
from tasks.faces.embedded import LARGEST, SMALLEST, Embedded
from tasks.faces.folders import Folder
from tasks.faces.pairs import Pairs
from tasks.faces.presets import PRESETS
from tasks.faces.resnet import LAYOUTS, ResNet

EMBEDDED = "embedded"
SCORED_AT_ONCE = 200


@dataclass(frozen=True)
class Faces(Task):
    """Tell people apart by embeddings of their pictures; EER of verification in percent.

    The network gives embeddings. Training compares them with a centre for each of its people (ArcFace), which are
    parameters that the task adds to every model: no exported file has them.

    The people of dev and of eval are divided into groups, and pictures are compared within them alone. So no person is
    in two groups, and a group is the unit that intervals draw again. In each group the first picture of everybody is a
    gallery, in which all other pictures are to find their own person at rank 1.

    Attributes:
        data: ``embedded`` (rendered; says nothing about real faces), or a folder ``identity/*.jpg``, such as LFW, where
            ``pairs.txt`` says which pictures are compared if it is there, and nobody is ranked.
        model: the layout of a residual network.
        width: channels of its first stage.
        stem_stride: stride of its first convolution.
        size: of the embedding.
        scale: of the cosines that training compares.
        margin: by which training takes angles as larger than they are, in radians.
        pixels: of an edge of the pictures.
        crop: of pictures in a folder, what is used of the shorter edge; LFW's faces fill about 0.5.
        group: people who are compared with each other.
        corpus_seed: of the embedded corpus.
        people: of the embedded corpus in train, dev, eval; disjoint.
        pictures: of each of them, likewise.
    """

    metric = Metric("eer", unit="percent", direction="minimize")
    work_unit = "picture"
    presets: ClassVar[dict[str, Plan]] = PRESETS

    data: str = EMBEDDED
    model: str = "resnet10"
    width: int = 8
    stem_stride: int = 2
    size: int = 64
    scale: float = 16.0
    margin: float = 0.2
    pixels: int = 40
    crop: float = 1.0
    group: int = 16
    corpus_seed: int = 0
    people: tuple[int, int, int] = (640, 160, 320)
    pictures: tuple[int, int, int] = (16, 5, 5)

    def check(self) -> None:
        """Model and numbers make sense; the folder is there, with people enough for three splits."""
        if self.model not in LAYOUTS:
            raise BenchError(f"faces has no model {self.model!r}; there are: {', '.join(LAYOUTS)}")
        for name, least, most in (
            *(("width", 1, 4096), ("stem_stride", 1, 4), ("size", 2, 4096), ("group", 2, 10_000)),
            *(("pixels", SMALLEST, LARGEST), ("crop", 0.05, 1), ("scale", 1, 1000), ("margin", 0, 1.5)),
        ):
            if not least <= (value := getattr(self, name)) <= most:
                raise BenchError(f"faces: {name} is {value}, expected {least} to {most}")
        if isinstance(self._source, Folder):
            self._source.check()

    def prepare(self, workers: int, progress: Progress) -> str:
        """Render the embedded corpus, or read the pictures of a folder.

        Returns:
            A digest of the pictures of all splits and whose they are.
        """
        told = "rendering faces" if self.data == EMBEDDED else "reading pictures"
        return folder_digest(self._prepared(workers, lambda fraction: progress(fraction, told)))

    def disjoint(self, split: Split) -> Mapping[str, tuple[str, ...]]:
        """People."""
        return {"person": self._album(split).names}

    def build_model(self) -> nn.Module:
        """A network from pictures (B, 3, pixels, pixels) to embeddings (B, size), with the centres of the loss."""
        return self.adopt(ResNet(LAYOUTS[self.model], self.width, self.pixels, self.size, self.stem_stride))

    def adopt(self, model: nn.Module) -> nn.Module:
        """A network with the centres that the loss reads, (people, size), as its parameter ``centres``."""
        centres = torch.empty(len(self._source.people("train")), self.size)
        model.centres = nn.Parameter(nn.init.xavier_normal_(centres))
        return model

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Random pictures for train, half of them mirrored; all in order for dev and eval.

        Inputs (B, 3, pixels, pixels) are in [-1, 1]; targets (B,) are people, numbered through the splits.
        """
        album = self._album(split)
        if split != "train":
            people = torch.from_numpy(
                album.people + sum(len(self._album(own).names) for own in SPLITS[: SPLITS.index(split)])
            )
            for start in range(0, len(people), SCORED_AT_ONCE):
                own = slice(start, start + SCORED_AT_ONCE)
                yield Batch(_tensor(album.pictures[own]), people[own])
            return
        rng, people = np.random.default_rng(seed), torch.from_numpy(album.people)
        for chosen in shuffled_epochs(rng, len(people), self.batch_size):
            pictures = album.pictures[chosen]
            mirrored = rng.random(len(chosen)) < 0.5
            pictures[mirrored] = pictures[mirrored, :, :, ::-1]
            yield Batch(_tensor(pictures), people[chosen])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """ArcFace; people of dev and eval have no centre of their own, so theirs is their mean direction."""
        embeddings = model(batch.inputs)
        centres, people = with_unseen(model.get_parameter("centres"), embeddings, batch.targets)
        return arcface(embeddings, centres, people, self.scale, self.margin)

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """One less the cosine, as lengths of embeddings say nothing, times the scale of the loss."""
        return self.scale * (1 - functional.cosine_similarity(outputs, teacher)).mean()

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """EER over the pairs within groups, then the share of pictures that do not find their person at rank 1."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> ItemScores:
        """The cosine of every pair; all pairs of people who are compared with each other are a unit."""
        embeddings = torch.cat([predict(batch.inputs) for batch in self.batches(split, 0)]).numpy()
        pairs = self._pairs(split)
        return ItemScores(pairs.likeness(embeddings), pairs.same, pairs.units)

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """EER, and the identification errors: 100 less the identification rate at rank 1."""
        results, album = super().summary(items, split), self._album(split)
        if album.listed is None:
            missed = 100 - self._pairs(split).identified(items.scores, album.people)
            results[f"{self.metric.column}/missed at rank 1"] = missed
        return results

    def example_input(self) -> Tensor:
        """One picture: (1, 3, pixels, pixels)."""
        return torch.zeros(1, 3, self.pixels, self.pixels)

    @cached_property
    def _source(self) -> Source:
        if self.data == EMBEDDED:
            return Embedded(self.corpus_seed, self.people, self.pictures, self.pixels)
        return Folder(Path(self.data), self.pixels, self.crop)

    def _prepared(self, workers: int = 1, progress: Callable[[float], None] = lambda fraction: None) -> Path:
        return cached_folder(
            self.cache,
            "faces",
            self._source.identity(),
            lambda folder: write_albums(folder, self._source, self.pixels, workers, progress),
        )

    @per_split
    def _album(self, split: Split) -> Album:
        return Album.load(self._prepared(), split)

    @per_split
    def _pairs(self, split: Split) -> Pairs:
        people, listed = self._album(split).people, self._album(split).listed
        return Pairs.within_groups(people, self.group) if listed is None else Pairs.of(people, listed)


def _tensor(pictures: Pictures) -> Tensor:
    return torch.from_numpy(pictures.astype(np.float32) / 127.5 - 1)

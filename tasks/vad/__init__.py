"""Voice activity detection: in which frames of noisy speech does somebody speak?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import (
    SPLITS,
    Batch,
    ItemScores,
    Metric,
    Plan,
    Predict,
    Progress,
    Recording,
    SoundScoring,
    Split,
    Task,
    cached_folder,
    content_key,
    per_split,
    soft_divergence,
)
from tasks._speech.filterbank import Normaliser
from tasks._speech.snr import check_ranges, range_names
from tasks.vad.batches import scored_batches, training_batches
from tasks.vad.embedded import GENERATOR_VERSION, write_corpus
from tasks.vad.embedded.spec import ALIGNMENT, NOISE, SPEECH, CorpusSpec
from tasks.vad.features import FeatureSplit, prepare_features
from tasks.vad.manifest import LABELS, Listed
from tasks.vad.mixing import MixSpec, check_lengths
from tasks.vad.models import MODELS, check_model
from tasks.vad.presets import FULL, PAPER, QUICK, SMOKE
from tasks.vad.scoring import error_rates, speech_logits, trimmed
from tasks.vad.shipping import sound_scoring_of
from tasks.vad.sources import EMBEDDED, Folders, corpus_of

FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class Vad(Task):
    """Tell frames of speech from noise, VCTK + ESC-50 style: unseen speakers and noises in eval; EER in percent.

    Attributes:
        data: ``embedded`` (generated; says nothing about real speech), a folder with VCTK 0.92, or a manifest.
        noise: a folder with ESC-50; needed with VCTK, or with a manifest that lists no noise.
        alignment: a folder with ``p225/p225_001.txt`` and so on, a line ``start end`` in seconds for every stretch of
            speech; without it, the energy of VCTK's clean recordings tells what is speech.
        model: ``crnn``, ``transformer``, or ``causal``: the transformer that sees nothing to come, and one second back
            in each attention. The first and the last run chunk by chunk.
        size: how wide the model is.
        bands: mel bands.
        crop_frames: frames of a training crop (10 ms each).
        mixtures: noisy files in train, dev, eval.
        seconds: length of a noisy file.
        snr_ranges_db: equally frequent ranges of the ratio of active speech to noise.
        corpus_seed: of the embedded corpus, of the split of the speakers, and of the mixtures.
        speakers: of the embedded corpus; like VCTK's, they are divided among the splits.
        utterances: of the embedded corpus, of each speaker, of 4 s each.
        noises: of the embedded corpus, of each kind in each fold.
    """

    metric = Metric("eer", unit="percent", direction="minimize")
    work_unit = "second of audio"
    input_width_axis = 1
    recording_labels = LABELS
    presets: ClassVar[dict[str, Plan]] = {"smoke": SMOKE, "quick": QUICK, "full": FULL, "paper": PAPER}

    data: str = EMBEDDED
    noise: str = ""
    alignment: str = ""
    model: str = "transformer"
    size: str = "small"
    bands: int = 80
    crop_frames: int = 150
    mixtures: tuple[int, int, int] = (480, 160, 240)
    seconds: float = 4.0
    snr_ranges_db: tuple[tuple[float, float], ...] = ((-5, 5), (5, 15), (15, 25), (25, 35))
    corpus_seed: int = 0
    speakers: int = 64
    utterances: int = 10
    noises: int = 12

    def check(self) -> None:
        """Model, ranges and lengths make sense; the data is there: VCTK 0.92 with ESC-50, or a manifest's."""
        check_model(self.model, self.size, self.bands)
        check_ranges(self.snr_ranges_db)
        check_lengths(self.mixtures, self.crop_frames, self.seconds * FRAMES_PER_SECOND)
        (self._named or self._spec).check()

    def prepare(self, workers: int, progress: Progress) -> str:
        """Generate the embedded corpus or read that of a manifest, then mix and compute the features of all splits.

        Returns:
            A digest of the features and labels of all splits: the same for the same content, wherever it lies.
        """
        if self._named is not None:
            self._named.identity(self.cache, workers, lambda fraction, note: progress(0.7 * fraction, note))
        self._corpus(workers, lambda fraction: progress(0.7 * fraction, "generating the embedded corpus"))
        digests: dict[str, str] = {}
        for position, split in enumerate(SPLITS):
            start = 0.7 + position / 10
            features = self._prepared(
                split,
                workers,
                lambda fraction, note, start=start: progress(start + fraction / 10, note),  # type: ignore[misc]
            )
            digests[split] = features.digest
        return content_key(digests)

    def recordings(self, workers: int, progress: Progress) -> Sequence[Recording]:
        """All speech and noise; the embedded corpus is generated if it is the source."""
        corpus = self._corpus(workers, lambda fraction: progress(fraction, "generating the embedded corpus"))
        return corpus.recordings(self.corpus_seed)

    def corpora(self) -> list[Path]:
        """The folders that the user has named, and what a manifest lists."""
        return self._named.corpora() if self._named is not None else []

    def build_model(self) -> nn.Module:
        """Either model, from (B, bands, T) features to (B, T', 1 or 2) logits; T' may be a little less than T."""
        return MODELS[self.model][self.size](self.bands)

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Random crops for train; whole mixtures in order for dev and eval.

        Inputs (B, bands, T) are normalised by the train split; targets (B, T) are 1 where somebody speaks.
        """
        features = self._features(split)
        if split == "train":
            return training_batches(features, self._normaliser, self.batch_size, self.crop_frames, seed)
        return scored_batches(features, self._normaliser)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy over all frames."""
        scores = speech_logits(model(batch.inputs))
        return functional.binary_cross_entropy_with_logits(scores, trimmed(batch.targets, scores.shape[1]))

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Divergence of the softened answers of all frames."""
        one, other = (speech_logits(own) for own in (outputs, teacher))
        return soft_divergence(*(torch.stack([torch.zeros_like(own), own], 1) for own in (one, other)))

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """EER over the frames of all mixtures, then of those whose signal-to-noise ratio lies in each range."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> ItemScores:
        """The log odds of speech of every frame; all frames of a mixture are one unit."""
        scores = torch.cat([speech_logits(predict(batch.inputs)) for batch in self.batches(split, 0)]).double().numpy()
        labels = trimmed(torch.from_numpy(self._features(split).labels), scores.shape[1]).numpy()
        return ItemScores(scores.ravel(), labels.ravel(), np.arange(len(scores)).repeat(scores.shape[1]))

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """EER over all frames and by range of the signal-to-noise ratio."""
        ranges, names = self._features(split).ranges, range_names(self.snr_ranges_db)
        return super().summary(items, split) | error_rates(items, ranges[items.units], names, self.metric.column)

    def example_input(self) -> Tensor:
        """One second of features: (1, bands, 100)."""
        return torch.zeros(1, self.bands, FRAMES_PER_SECOND)

    def duration_s(self, inputs: Tensor) -> float:
        return inputs.shape[-1] / FRAMES_PER_SECOND

    def timed_inputs(self) -> Mapping[str, Tensor]:
        """A chunk of 160 ms, a wait that listeners accept and one frame more than the transformer's positions see.

        The utterance is a whole mixture, which is what is scored. The transformer knows a chunk alone, nothing before.
        """
        frames = round(self.seconds * FRAMES_PER_SECOND)
        return {"chunk": torch.zeros(1, self.bands, 16), "utterance": torch.zeros(1, self.bands, frames)}

    @property
    def streams(self) -> bool:
        """Every model but the transformer, which looks at the whole recording."""
        return self.model != "transformer"

    def sound_scoring(self) -> SoundScoring:
        """The features of a mixture, and the log odds of speech in each frame."""
        return sound_scoring_of(self.bands, self._normaliser)

    @property
    def _spec(self) -> CorpusSpec:
        return CorpusSpec(self.corpus_seed, self.speakers, self.utterances, self.noises)

    def _mixing(self, split: Split) -> MixSpec:
        return MixSpec(
            split, self.mixtures[SPLITS.index(split)], self.seconds, self.snr_ranges_db, seed=self.corpus_seed
        )

    @cached_property
    def _named(self) -> Folders | Listed | None:
        return corpus_of(self.data, self.noise, self.alignment)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        if self._named is None:
            return {"embedded": asdict(self._spec), "generator": GENERATOR_VERSION}
        return dict(self._named.identity(self.cache))

    def _corpus(self, workers: int, progress: Any) -> Folders | Listed:
        if self._named is not None:
            return self._named
        self._spec.check()
        root = cached_folder(
            self.cache, "vad-corpus", self._identity, lambda folder: write_corpus(folder, self._spec, workers, progress)
        )
        return Folders(root / SPEECH, root / NOISE, root / ALIGNMENT)

    def _prepared(
        self, split: Split, workers: int = 1, progress: Progress = lambda fraction, note: None
    ) -> FeatureSplit:
        return prepare_features(
            lambda: self._corpus(workers, lambda fraction: None).read(split, self.corpus_seed),
            self._identity,
            self._mixing(split),
            self.bands,
            self.cache,
            workers=workers,
            progress=progress,
        )

    @per_split
    def _features(self, split: Split) -> FeatureSplit:
        return self._prepared(split)

    @cached_property
    def _normaliser(self) -> Normaliser:
        return Normaliser(self._features("train").frames)

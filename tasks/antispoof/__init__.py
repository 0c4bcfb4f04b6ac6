"""Audio anti-spoofing: is an utterance bona fide speech, or did a machine make it?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

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
    Recording,
    SoundScoring,
    Split,
    Task,
    cached_folder,
    content_key,
    equal_error_rate,
    per_split,
    soft_divergence,
)
from tasks._speech import SAMPLE_RATE
from tasks._speech.manifest import Manifest, manifest_path
from tasks.antispoof.asvspoof import BONAFIDE, SPOOF, Utterance, corpus_identity, corpus_root, read_protocol
from tasks.antispoof.batches import band_scale, scored_batches, training_batches
from tasks.antispoof.cnn_tdnn import CnnTdnn
from tasks.antispoof.embedded import GENERATOR_VERSION, CorpusSpec, write_corpus
from tasks.antispoof.features import FeatureSettings, FeatureSplit, prepare_features
from tasks.antispoof.manifest import LABELS, manifest_at, utterances_of
from tasks.antispoof.presets import PRESETS
from tasks.antispoof.resnet import LAYOUTS, ResNet
from tasks.antispoof.shipping import sound_scoring_of

EMBEDDED = "embedded"
MODELS = ("cnn_tdnn", *LAYOUTS)
LARGEST = 10_000  # of widths and of lengths in frames


@dataclass(frozen=True)
class Antispoof(Task):
    """Tell bona fide from synthetic speech, ASVspoof 2019 LA style: unseen attacks in eval; EER in percent.

    Attributes:
        data: ``embedded`` (generated speech; says nothing about real corpora), a folder with ASVspoof 2019 LA, or a
            manifest.
        model: ``cnn_tdnn``, or the layout of a residual network.
        width: channels of the first convolution.
        stem_stride: stride of the first convolution of a residual network over frequency; over time it is 2 at most.
        crop_frames: frames of a training crop (10 ms each).
        scored_frames: frames of an utterance that are scored; shorter ones are repeated, as is usual.
        corpus_seed: of the embedded corpus.
        utterances: of the embedded corpus in train, dev, eval.
        speakers: likewise; disjoint.
        seconds: length of an utterance of the embedded corpus.
    """

    metric = Metric("eer", unit="percent", direction="minimize")
    work_unit = "second of audio"
    recording_labels = LABELS
    presets: ClassVar[dict[str, Plan]] = PRESETS

    data: str = EMBEDDED
    model: str = "cnn_tdnn"
    width: int = 16
    stem_stride: int = 4
    crop_frames: int = 64
    scored_frames: int = 200
    corpus_seed: int = 0
    utterances: tuple[int, int, int] = (2400, 900, 1400)
    speakers: tuple[int, int, int] = (60, 30, 40)
    seconds: float = 2.0

    def check(self) -> None:
        """Model, widths and lengths make sense; the data is there: ASVspoof 2019 LA, or a manifest's."""
        if self.model not in MODELS:
            raise BenchError(f"antispoof has no model {self.model!r}; there are: {', '.join(MODELS)}")
        for name in ("width", "stem_stride", "crop_frames", "scored_frames"):
            if not 1 <= (value := getattr(self, name)) <= LARGEST:
                raise BenchError(f"antispoof: {name} is {value}, expected 1 to {LARGEST}")
        if self.data == EMBEDDED:
            self._spec  # noqa: B018  (it refuses what cannot be generated)
        elif self._manifest is not None:
            self._manifest.check()
        else:
            corpus_root(Path(self.data))

    def prepare(self, workers: int, progress: Progress) -> str:
        """Generate the embedded corpus or read that of a manifest, then compute the features of all splits.

        Returns:
            A digest of the features of all splits: the same for the same content, wherever it lies.
        """
        if self._manifest is not None:
            self._manifest.identity(self.cache, workers, lambda fraction, note: progress(0.9 * fraction, note))
        read = self._corpus(workers, lambda fraction: progress(0.9 * fraction, "generating the embedded corpus"))
        digests: dict[str, str] = {}
        for position, split in enumerate(SPLITS):
            start = 0.9 + position / 30
            features = prepare_features(
                read,
                self.cache,
                self._identity,
                FeatureSettings(),
                split,
                workers=workers,
                progress=lambda fraction, start=start: progress(start + fraction / 30, "computing features"),  # type: ignore[misc]
            )
            digests[split] = features.digest
        return content_key(digests)

    def recordings(self, workers: int, progress: Progress) -> Sequence[Recording]:
        """All utterances; the embedded corpus is generated if it is the source."""
        if self._manifest is not None:
            return self._manifest.recordings
        read = self._corpus(workers, lambda fraction: progress(fraction, "generating the embedded corpus"))
        return [
            Recording(u.path, split, BONAFIDE if u.bonafide else SPOOF, u.speaker, "" if u.bonafide else u.attack)
            for split in SPLITS
            for u in read(split)
        ]

    def corpora(self) -> list[Path]:
        """The folder that the user has named, or what the manifest lists."""
        return super().corpora() if self._manifest is None else self._manifest.places()

    def disjoint(self, split: Split) -> Mapping[str, set[str]]:
        """Utterances."""
        return {"utterance": {*self._features(split).keys}}

    def build_model(self) -> nn.Module:
        """A network over (B, bands, T) features, two logits: spoof, bona fide."""
        if self.model == "cnn_tdnn":
            return CnnTdnn(FeatureSettings().bands, self.width)
        return ResNet(LAYOUTS[self.model], self.width, self.stem_stride)

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Random crops with masked bands for train; whole utterances in order for dev and eval.

        Inputs (B, bands, frames) have each band's mean over the utterance removed and unit variance over the corpus.
        """
        features = self._features(split)
        if split == "train":
            return training_batches(features, self._scale, self.batch_size, self.crop_frames, seed)
        return scored_batches(features, self._scale, self.scored_frames)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy, the two classes weighted to count equally."""
        weights = self._class_weights.to(batch.inputs.device)
        return functional.cross_entropy(model(batch.inputs), batch.targets, weight=weights)

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Divergence of the softened classes."""
        return soft_divergence(outputs, teacher)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """EER over all utterances, then the EER of each attack against all bona fide utterances."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> ItemScores:
        """The log odds of bona fide speech of every utterance, each a unit of its own."""
        outputs = torch.cat([predict(batch.inputs) for batch in self.batches(split, 0)])
        scores = (outputs[:, 1] - outputs[:, 0]).double().numpy()
        return ItemScores(scores, self._features(split).labels, np.arange(len(scores)))

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """EER over all utterances and by attack."""
        features, results = self._features(split), super().summary(items, split)
        genuine = features.labels == 1
        for attack in sorted(set(features.attacks[~genuine])):
            chosen = genuine | (features.attacks == attack)
            results[f"{self.metric.column}/{attack}"] = equal_error_rate(items.scores[chosen], features.labels[chosen])
        return results

    def example_input(self) -> Tensor:
        """One second of features: (1, bands, 100)."""
        return torch.zeros(1, FeatureSettings().bands, 100)

    def duration_s(self, inputs: Tensor) -> float:
        return inputs.shape[-1] * FeatureSettings().hop / SAMPLE_RATE

    def timed_inputs(self) -> Mapping[str, Tensor]:
        """A chunk of 16 frames, which the strides bring to one, and the frames of an utterance that are scored."""
        bands = FeatureSettings().bands
        return {"chunk": torch.zeros(1, bands, 16), "utterance": torch.zeros(1, bands, self.scored_frames)}

    def sound_scoring(self) -> SoundScoring:
        """The features of an utterance, and the log odds of bona fide speech."""
        return sound_scoring_of(self._scale, self.scored_frames)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        if self.data == EMBEDDED:
            return {"embedded": asdict(self._spec), "generator": GENERATOR_VERSION}
        if self._manifest is not None:
            return dict(self._manifest.identity(self.cache))
        return dict(corpus_identity(Path(self.data)))

    @property
    def _spec(self) -> CorpusSpec:
        return CorpusSpec(self.corpus_seed, self.seconds, self.utterances, self.speakers)

    @cached_property
    def _manifest(self) -> Manifest | None:
        path = None if self.data == EMBEDDED else manifest_path(self.data)
        return manifest_at(path) if path else None

    def _corpus(self, workers: int = 1, progress: Any = None) -> Callable[[str], list[Utterance]]:
        """What lists the utterances of a split, all of which are there then."""
        if self._manifest is not None:
            return partial(utterances_of, self._manifest)
        if self.data != EMBEDDED:
            return partial(read_protocol, corpus_root(Path(self.data)))
        root = cached_folder(
            self.cache,
            "antispoof-corpus",
            self._identity,
            lambda folder: write_corpus(folder, self._spec, workers, progress),
        )
        return partial(read_protocol, root)

    @per_split
    def _features(self, split: Split) -> FeatureSplit:
        return prepare_features(self._corpus(), self.cache, self._identity, FeatureSettings(), split)

    @cached_property
    def _class_weights(self) -> Tensor:
        share = float(self._features("train").labels.mean())
        return torch.tensor([2 * share, 2 - 2 * share])

    @cached_property
    def _scale(self) -> np.ndarray:
        return band_scale(self._features("train"))

"""Speech recognition: which words are said in a noisy recording?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from math import ceil
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
    Split,
    Task,
    cached_folder,
    content_key,
    per_split,
    soft_divergence,
)
from tasks._speech.filterbank import Normaliser
from tasks._speech.snr import check_ranges, range_names
from tasks.asr.batches import scored_batches, training_batches
from tasks.asr.decoding import DECODERS, Recognised, decoder_of, recognised
from tasks.asr.embedded import GENERATOR_VERSION, CorpusSpec, write_corpus
from tasks.asr.features import FeatureSplit, Settings, prepare_features
from tasks.asr.librispeech import librispeech_root, read_librispeech
from tasks.asr.models import REDUCTION, Conformer, Transformer
from tasks.asr.presets import PRESETS
from tasks.asr.speech_commands import is_speech_commands, read_strings
from tasks.asr.utterance import Reader, digest_of
from tasks.asr.vocabulary import BLANK, LETTERS, PHONES, Vocabulary

EMBEDDED = "embedded"
FRAMES_PER_SECOND = 100
LARGEST = 10_000  # of widths
LONGEST_S = 100
MODELS = ("transformer", "conformer")


@dataclass(frozen=True)
class Asr(Task):
    """Recognise the words of speakers not seen in training; word error rate in percent.

    Attributes:
        data: ``embedded`` (generated digits and commands; says nothing about real speech), a folder with LibriSpeech,
            or one with Speech Commands v2, whose words are put together into strings of one speaker.
        model: ``transformer`` or ``conformer``.
        width: features of a frame, a multiple of ``heads`` and even.
        layers: of the encoder.
        heads: of each attention.
        bands: mel bands.
        seconds: length of every recording: noise goes on before and after the speech. Longer utterances are left out.
        snr_ranges_db: equally frequent ranges of the ratio of speech to the noise that is added.
        decoder: ``greedy``, or ``beam``: torchaudio's search for words of the lexicon.
        corpus_seed: of the embedded corpus, of strings of Speech Commands, and of the noise.
        utterances: of the embedded corpus, or strings of Speech Commands, in train, dev, eval.
        speakers: of the embedded corpus, likewise; disjoint.
        words: fewest and most words of an utterance of the embedded corpus or of a string of Speech Commands.
    """

    metric = Metric("wer", unit="percent", direction="minimize", guess=100.0)  # of no words
    work_unit = "second of audio"
    input_width_axis = 1
    presets: ClassVar[dict[str, Plan]] = PRESETS

    data: str = EMBEDDED
    model: str = "transformer"
    width: int = 48
    layers: int = 2
    heads: int = 4
    bands: int = 40
    seconds: float = 1.8
    snr_ranges_db: tuple[tuple[float, float], ...] = ((10, 20), (20, 30), (30, 40))
    decoder: str = "greedy"
    corpus_seed: int = 0
    utterances: tuple[int, int, int] = (3000, 300, 500)
    speakers: tuple[int, int, int] = (100, 20, 30)
    words: tuple[int, int] = (1, 3)

    def check(self) -> None:
        """Model, decoder and lengths make sense; the data is there."""
        for name, known in (("model", MODELS), ("decoder", DECODERS)):
            if (chosen := getattr(self, name)) not in known:
                raise BenchError(f"asr has no {name} {chosen!r}; there are: {', '.join(known)}")
        for name in ("width", "layers", "heads", "bands"):
            if not 1 <= (value := getattr(self, name)) <= LARGEST:
                raise BenchError(f"asr: {name} is {value}, expected 1 to {LARGEST}")
        if self.width % self.heads or self.width % 2:
            raise BenchError(f"asr: width is {self.width}, expected an even multiple of heads, which is {self.heads}")
        if not 1 <= self.seconds <= LONGEST_S:
            raise BenchError(f"asr: recordings of {self.seconds:g} s, expected 1 to {LONGEST_S} s")
        check_ranges(self.snr_ranges_db)
        decoder_of(self.decoder, self._vocabulary)
        self._spec  # noqa: B018  (it refuses what cannot be generated)
        if self.data != EMBEDDED and not is_speech_commands(Path(self.data)):
            librispeech_root(Path(self.data))

    def prepare(self, workers: int, progress: Progress) -> str:
        """Generate the embedded corpus if it is the source, then compute the features of all splits.

        Returns:
            A digest of the features and transcripts of all splits.
        """
        self._corpus(workers, lambda fraction: progress(0.8 * fraction, "generating the embedded corpus"))
        digests: dict[str, str] = {}
        for position, split in enumerate(SPLITS):
            start = 0.8 + position / 15
            features = self._prepared(
                split,
                workers,
                lambda fraction, note, start=start: progress(start + fraction / 15, note),  # type: ignore[misc]
            )
            digests[split] = features.digest
        return content_key(digests)

    def recordings(self, workers: int, progress: Progress) -> Sequence[Recording]:
        """All sound files; the embedded corpus is generated if it is the source."""
        read = self._corpus(workers, lambda fraction: progress(fraction, "generating the embedded corpus"))
        return [
            Recording(path, split, "speech", u.speaker, listed=str(u.listed_in))
            for split in SPLITS
            for u in read(split)
            for path in u.paths
        ]

    def disjoint(self, split: Split) -> Mapping[str, set[str]]:
        """Utterances and speakers."""
        features = self._features(split)
        return {"utterance": {*features.keys}, "speaker": {*features.speakers}}

    def build_model(self) -> nn.Module:
        """Either model, from (B, bands, T) features to (B, classes, ceil(T / 4)) logits."""
        sizes = {"width": self.width, "layers": self.layers, "heads": self.heads}
        if self.model == "conformer":
            return Conformer(self.bands, self._vocabulary.classes, **sizes)
        positions = ceil(self.seconds * FRAMES_PER_SECOND / REDUCTION)
        return Transformer(self.bands, self._vocabulary.classes, positions=positions, **sizes)

    def batches(self, split: Split, seed: int) -> Iterator[Batch]:
        """Whole recordings, shuffled for train, in order for dev and eval.

        Inputs (B, bands, T) are normalised by the train split; targets (B, longest transcript) are classes, then -1.
        """
        features = self._features(split)
        if split == "train":
            return training_batches(features, self._normaliser, self.batch_size, seed)
        return scored_batches(features, self._normaliser)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Connectionist temporal classification (Graves et al. 2006), by units of the transcript."""
        likelihoods = functional.log_softmax(model(batch.inputs), 1).permute(2, 0, 1)
        said = (batch.targets > BLANK).sum(1)
        heard = torch.full_like(said, len(likelihoods))
        return functional.ctc_loss(likelihoods, batch.targets.clamp(min=0), heard, said, BLANK, zero_infinity=True)

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Divergence of the softened classes of all frames."""
        return soft_divergence(outputs, teacher)

    def evaluate(self, predict: Predict, split: Split) -> dict[str, float]:
        """Word error rate, then by range of the signal-to-noise ratio; the same of phones (``per``) or letters."""
        return self.summary(self.item_scores(predict, split), split)

    def item_scores(self, predict: Predict, split: Split) -> Recognised:
        """The word error rate of each utterance, weighted by its words; each is a unit of its own."""
        features, decode = self._features(split), decoder_of(self.decoder, self._vocabulary)
        found = [own for batch in self.batches(split, 0) for own in decode(predict(batch.inputs))]
        return recognised(found, features.targets, features.words, self._vocabulary)

    def summary(self, items: ItemScores, split: Split) -> dict[str, float]:
        """Error rates of words, then of phones or letters: of all utterances, and by range."""
        assert isinstance(items, Recognised)
        results, ranges = super().summary(items, split), self._features(split).ranges
        units = f"{self._vocabulary.name}_percent"
        for name, rate in ((self.metric.column, items.word_rate), (units, items.unit_rate)):
            results[name] = rate(np.ones(len(ranges), bool))
            for number, of in enumerate(range_names(self.snr_ranges_db)):
                if (chosen := ranges == number).any():
                    results[f"{name}/{of}"] = rate(chosen)
        return results

    def example_input(self) -> Tensor:
        """One second of features: (1, bands, 100)."""
        return torch.zeros(1, self.bands, FRAMES_PER_SECOND)

    def duration_s(self, inputs: Tensor) -> float:
        return inputs.shape[-1] / FRAMES_PER_SECOND

    def timed_inputs(self) -> Mapping[str, Tensor]:
        """A chunk of 160 ms, which becomes four frames, and a whole recording, which is what is scored."""
        frames = int(self.seconds * FRAMES_PER_SECOND)
        return {"chunk": torch.zeros(1, self.bands, 16), "utterance": torch.zeros(1, self.bands, frames)}

    @property
    def _vocabulary(self) -> Vocabulary:
        return PHONES if self.data == EMBEDDED or is_speech_commands(Path(self.data)) else LETTERS

    @property
    def _spec(self) -> CorpusSpec:
        return CorpusSpec(self.corpus_seed, self.seconds, self.utterances, self.speakers, self.words)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        if self.data == EMBEDDED:
            return {"embedded": asdict(self._spec), "generator": GENERATOR_VERSION}
        return {"corpus": "LibriSpeech or Speech Commands layout", "digest": digest_of(self._corpus())}

    def _corpus(self, workers: int = 1, progress: Any = None) -> Reader:
        """What lists the utterances of a split, all of which are there then."""
        if self.data != EMBEDDED:
            root = Path(self.data)
            strings = is_speech_commands(root)
            return partial(read_strings, root, self._spec) if strings else partial(read_librispeech, root)
        root = cached_folder(
            self.cache, "asr-corpus", self._identity, lambda folder: write_corpus(folder, self._spec, workers, progress)
        )
        return partial(read_librispeech, root)

    def _prepared(
        self, split: Split, workers: int = 1, progress: Progress = lambda fraction, note: None
    ) -> FeatureSplit:
        return prepare_features(
            self._corpus(),
            self._vocabulary,
            Settings(self.seconds, self.bands, self.snr_ranges_db, self.corpus_seed),
            split,
            self.cache,
            identity=self._identity,
            workers=workers,
            progress=progress,
        )

    @per_split
    def _features(self, split: Split) -> FeatureSplit:
        return self._prepared(split)

    @cached_property
    def _normaliser(self) -> Normaliser:
        return Normaliser(self._features("train").frames)

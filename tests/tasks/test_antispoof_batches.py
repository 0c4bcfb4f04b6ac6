"""What a network is trained on and scored on: crops, masks, repetition, scale."""

from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench import Batch
from tasks.antispoof import batches
from tasks.antispoof.batches import MASKED_BANDS, band_scale, scored_batches, training_batches

BANDS = 20
LENGTHS = (50, 30, 7, 41, 12, 30)
SCALE = np.linspace(1, 2, BANDS, dtype=np.float32)


class Features:
    """What ``FeatureSplit`` offers, in memory."""

    def __init__(self, *lengths: int) -> None:
        rng = np.random.default_rng(0)
        self.labels = np.arange(len(lengths)) % 2
        self.values = [rng.normal(3, np.arange(1, BANDS + 1), (n, BANDS)).astype(np.float16) for n in lengths]

    def __len__(self) -> int:
        return len(self.values)

    def frames(self, index: int) -> NDArray[np.float16]:
        return self.values[index]

    def mean(self, index: int) -> NDArray[np.float32]:
        return np.asarray(self.values[index].astype(np.float32).mean(0))


def whole(features: Features, index: int) -> NDArray[np.float32]:
    """An utterance as the network should see it, (bands, frames)."""
    values = features.values[index].astype(np.float32)
    return ((values - values.mean(0)) * SCALE).T


def drawn(features: Features, count: int, *, size: int = 4, frames: int = 16, seed: int = 0) -> list[Batch]:
    return list(islice(training_batches(features, SCALE, size, frames, seed), count))  # type: ignore[arg-type]


def test_every_example_is_a_crop_of_an_utterance_with_its_label() -> None:
    features = Features(*LENGTHS)
    starts = set()
    for batch in drawn(features, 20):
        assert batch.inputs.shape == (4, BANDS, 16) and batch.inputs.dtype == torch.float32
        seen = batch.inputs.numpy().any((0, 2))
        for crop, label in zip(batch.inputs.numpy(), batch.targets.tolist(), strict=True):
            found = [
                (index, start)
                for index in range(len(features))
                for values in [np.tile(whole(features, index), 3 if LENGTHS[index] < 16 else 1)]
                for start in range(values.shape[1] - 15)
                if features.labels[index] == label and np.array_equal(values[seen, start : start + 16], crop[seen])
            ]
            assert found
            starts.update(found)
    assert {index for index, _ in starts} == set(range(len(features)))  # the short ones, repeated, too
    assert len({start for index, start in starts if index == 0}) > 5


def test_some_neighbouring_bands_are_masked_in_all_examples_of_a_batch_alike() -> None:
    counts, firsts = set(), set()
    for batch in drawn(Features(*LENGTHS), 200):
        silent = np.flatnonzero(~batch.inputs.numpy().any((0, 2)))
        assert np.array_equal(silent, np.arange(silent[0], silent[-1] + 1))
        assert (batch.inputs.numpy() == 0).any((0, 2)).sum() == len(silent)
        counts.add(len(silent))
        firsts.add(int(silent[0]))
    assert counts == set(range(1, MASKED_BANDS + 1))
    assert firsts == set(range(BANDS - MASKED_BANDS))


def test_an_epoch_has_every_utterance_once_and_the_next_another_order() -> None:
    features = Features(*[16] * 8)
    features.labels = np.arange(8)
    order = [batch.targets.tolist() for batch in drawn(features, 4)]
    assert sorted(order[0] + order[1]) == sorted(order[2] + order[3]) == list(range(8))
    assert order[:2] != order[2:]
    assert [batch.targets.tolist() for batch in drawn(features, 4)] == order
    assert [batch.targets.tolist() for batch in drawn(features, 4, seed=1)] != order
    assert len(drawn(features, 1, size=100)[0].inputs) == 8


def test_scored_are_the_first_frames_and_short_utterances_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SCORED_AT_ONCE", 4)
    features = Features(*LENGTHS)
    scored = list(scored_batches(features, SCALE, 16))  # type: ignore[arg-type]
    assert [len(batch.inputs) for batch in scored] == [4, 2]
    assert torch.cat([batch.targets for batch in scored]).tolist() == features.labels.tolist()
    inputs = torch.cat([batch.inputs for batch in scored]).numpy()
    for index, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(inputs[index], whole(features, index)[:, np.arange(16) % length])


def test_scaled_bands_have_unit_deviation_around_the_mean_of_their_utterance() -> None:
    features = Features(*LENGTHS)
    centred = np.concatenate([values - values.astype(np.float32).mean(0) for values in features.values])
    scale = band_scale(features)  # type: ignore[arg-type]
    assert scale.dtype == np.float32
    np.testing.assert_allclose((centred * scale).std(0), 1, rtol=1e-3)
    assert scale[0] > 10 * scale[-1]


def test_the_scale_of_a_large_split_is_taken_from_some_of_it() -> None:
    features = Features(*[5] * 1300)
    chosen = Features()
    chosen.values = features.values[::3]
    np.testing.assert_array_equal(band_scale(features), band_scale(chosen))  # type: ignore[arg-type]

"""What is exported around a network computes the features of training, and the scores of evaluation."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import version_converter
from torch import nn

from bench import OnnxModel, SoundScoring, cached_folder
from bench.export.model import Predictor, export_onnx
from bench.ship.scorer import difference, scorer_of
from tasks._speech import Signal
from tasks._speech.filterbank import Normaliser
from tasks.antispoof import features as antispoof_features
from tasks.antispoof import shipping as antispoof
from tasks.antispoof.batches import scored_batches
from tasks.vad import shipping as vad
from tasks.vad.features import filterbank
from tasks.vad.models import MODELS
from tasks.vad.scoring import speech_logits

BANDS = 24
SAMPLES = (400, 2560, 16_000, 16_159, 40_001)


def sound(samples: int) -> Signal:
    """Sixteen bits, as a file would have them."""
    rng = np.random.default_rng(samples)
    return np.round(8000 * rng.standard_normal(samples) * rng.uniform(0.01, 1, samples)) / 2**15


@pytest.fixture(scope="module")
def normalise() -> Normaliser:
    frames = np.random.default_rng(0).normal(-8, 3, (4, 50, BANDS)).astype(np.float16)
    return Normaliser(frames)


@pytest.mark.parametrize("name", MODELS)
def test_vad_scores_every_frame_as_in_evaluation(normalise: Normaliser, name: str) -> None:
    torch.manual_seed(0)
    model = export_onnx(MODELS[name]["tiny"](BANDS), torch.zeros(1, BANDS, 100))
    recordings = vad.sound_scoring_of(BANDS, normalise)
    session = scorer_of(model, recordings, "vad").session()
    for samples in SAMPLES[1:]:
        found = session.run(None, {"recording": sound(samples)})[0]
        expected = speech_logits(Predictor(model)(normalise(filterbank(BANDS)(sound(samples))[None])))[0]
        assert abs(len(found) - samples // 160) <= 12
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", SAMPLES)
def test_antispoof_features_are_those_of_training_to_the_last_bit(samples: int, tmp_path: Path) -> None:
    """An integer model may take another level for another last bit."""
    settings = antispoof_features.FeatureSettings()
    scale = np.random.default_rng(1).uniform(0.2, 1, settings.bands).astype(np.float32)
    stored = antispoof_features.filterbank(settings)(sound(samples))

    def write(folder: Path) -> None:
        np.save(folder / antispoof_features.FRAMES, stored)
        np.save(folder / antispoof_features.OFFSETS, [0, len(stored)])
        rows = [{"key": "one", "attack": "bonafide", "bonafide": True}]
        (folder / antispoof_features.UTTERANCES).write_text(json.dumps(rows))

    split = antispoof_features.FeatureSplit(cached_folder(tmp_path, "one", {}, write))
    (batch,) = scored_batches(split, scale, 100)
    recordings = antispoof.sound_scoring_of(scale, 100)
    through = SoundScoring(16_000, recordings.features, nn.Flatten(0), "the features themselves", 400)
    same = export_onnx(nn.Identity(), batch.inputs)
    found = scorer_of(same, through, "antispoof").session().run(None, {"recording": sound(samples)})[0]
    np.testing.assert_array_equal(found.reshape(batch.inputs.shape), batch.inputs.numpy())


def test_a_file_of_later_operators_is_taken(normalise: Normaliser) -> None:
    recordings = vad.sound_scoring_of(BANDS, normalise)
    model = export_onnx(MODELS["crnn"]["tiny"](BANDS), torch.zeros(1, BANDS, 100))
    later = version_converter.convert_version(onnx.load_from_string(model.data), 19)
    newer = OnnxModel(later.SerializeToString())
    assert difference(scorer_of(newer, recordings, "vad"), newer, recordings) < 1e-5

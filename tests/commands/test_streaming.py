"""Models that run chunk by chunk: what a trial leaves, what the audit checks, what is timed and exported."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.export.model import OnnxModel, Predictor
from bench.export.streaming import Stream, export_stream
from bench.ship.export import write_export
from bench.storage.files import file_digest
from bench.trial.compress import train
from bench.trial.evaluate import DenseLatency, latencies
from bench.trial.record import TRAINED, TrialFolder
from bench.trial.setting import Setting, TrialSpec
from bench.trial.verify import audit
from tasks.vad import Vad
from tests.conftest import SmokeRun
from tests.ship.conftest import choice_of

STREAMED = ("dense", "magnitude_pruning", "low_rank")
INTEGER = "magnitude_pruning+quantization"
SEES_ALL = "from tasks.vad.transformer import Transformer\n\ndef build():\n    return Transformer(80, 24, 12)\n"
DOCS = Path(__file__).parent.parent.parent / "docs"


def trial(run: SmokeRun, method: str) -> TrialFolder:
    return TrialFolder.of(run.folder, choice_of(run, method).key)


def test_a_trial_leaves_the_streaming_file_and_its_chunk_is_timed(streamed_smoke: SmokeRun) -> None:
    table = pd.read_csv(streamed_smoke.folder / "points.csv").set_index("method")
    for method in STREAMED:
        record = trial(streamed_smoke, method).record()
        assert record is not None and record.status == "complete" and "stream.onnx" in (record.files or {})
        assert table.loc[method, "latency_chunk_ms"] > 0  # of which file, the test of what is timed tells
    record = trial(streamed_smoke, INTEGER).record()
    assert record is not None and record.status == "complete" and "stream.onnx" not in (record.files or {})
    assert any(note.startswith("No stream.onnx: the method gives an ONNX file") for note in record.notes or [])
    assert np.isnan(table.loc[INTEGER, "latency_chunk_ms"]) and table.loc[INTEGER, "latency_ms"] > 0


def test_the_audit_refuses_a_streaming_file_of_another_model(streamed_smoke: SmokeRun, tmp_path: Path) -> None:
    cache = str(streamed_smoke.results / "cache")
    spec = TrialSpec(Setting("vad", "smoke", {"model": "causal"}, cache=cache), "dense", {}, seed=0)
    folder = TrialFolder(tmp_path / "trial")
    folder.take_training(trial(streamed_smoke, "dense"))
    assert (folder.stream_path).exists()
    task = spec.setting.build_task()
    folder.stream_path.write_bytes(export_stream(task.build_model(), task.example_input()).data)
    noted = json.loads((folder.path / TRAINED).read_text())
    noted["files"]["stream.onnx"] = file_digest(folder.stream_path)
    (folder.path / TRAINED).write_text(json.dumps(noted))
    record = audit(spec, folder, lambda fraction, note: None)
    assert record.status == "failed"
    assert re.match(
        r"audit: stream.onnx does not compute in chunks what model.onnx does at once: \S+ apart", record.reason
    )


def test_what_is_timed_is_the_streaming_file_with_full_states(
    streamed_smoke: SmokeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Vad.at("smoke", model="causal", cache=streamed_smoke.results / "cache")
    dense, folder = DenseLatency(task), trial(streamed_smoke, "magnitude_pruning")
    calls = []
    monkeypatch.setattr(
        "bench.trial.evaluate._brief", lambda name, calls_of, *_: calls.append((name, calls_of[0])) or {name: 1.0}
    )
    assert {"latency_chunk", "latency_utterance", "latency_eager"} < set(latencies(task, folder, dense))
    shapes = {name: [array.shape for array in call.args] for name, call in calls if name != "latency_eager"}
    assert shapes["latency_utterance"] == [(1, 80, 200)]
    states = [state.shape for state in Stream(OnnxModel(folder.stream_path.read_bytes())).states.values()]
    full = [(*shape[:2], 99, *shape[3:]) if len(shape) == 4 else shape for shape in states]
    assert shapes["latency_chunk"] == [(1, 80, 16), *full] and len(full) == 5


def test_a_model_of_ones_own_that_cannot_carry_state_says_so_in_a_note(
    streamed_smoke: SmokeRun, tmp_path: Path
) -> None:
    (tmp_path / "sees_all.py").write_text(SEES_ALL)
    fields = {"model": f"{tmp_path / 'sees_all.py'}:build"}
    setting = Setting("vad", "smoke", fields, cache=str(streamed_smoke.results / "cache"))
    folder = TrialFolder(tmp_path / "trial")
    train(TrialSpec(setting, "dense", {}, seed=0), folder, lambda fraction, note: None)
    record = folder.trained()
    assert record is not None and not folder.stream_path.exists()
    (said,) = record.notes or []
    assert said.startswith("No stream.onnx: Conv1d 'position' cannot carry state from chunk to chunk: it is padded")


@pytest.mark.parametrize("model", ["transformer", "own"])
def test_a_dense_model_that_carries_nothing_is_timed_on_a_chunk_alone(
    streamed_smoke: SmokeRun, tmp_path: Path, model: str
) -> None:
    if model == "own":
        (tmp_path / "sees_all.py").write_text(SEES_ALL)
        model = f"{tmp_path / 'sees_all.py'}:build"
    dense = DenseLatency(Vad.at("smoke", model=model, cache=streamed_smoke.results / "cache"))
    assert not dense.streamed
    assert [array.shape for array in dense.further["chunk"].calls[0].args] == [(1, 80, 16)]  # type: ignore[attr-defined]


def test_the_export_streams_by_the_loop_of_the_documentation(streamed_smoke: SmokeRun, tmp_path: Path) -> None:
    folder = write_export(choice_of(streamed_smoke, "low_rank"), tmp_path / "home", {})
    card = (folder / "MODEL_CARD.md").read_text()
    assert "stream.onnx: the same, chunk by chunk" in card and "position.frames (1, 24, 14)" in card
    assert "blocks.0.attention.keys (1, 12, 0, 2)" in card and "SHA-256 of stream.onnx" in card
    page: dict[str, object] = {}
    code = re.search(r"## Chunk by chunk\n.*?```python\n(.*?)```", (DOCS / "take_home.md").read_text(), re.DOTALL)
    assert code is not None
    exec(code[1], page)
    inputs = torch.randn(1, 80, 200)
    whole = Predictor(OnnxModel((folder / "model.onnx").read_bytes()))(inputs)
    chunks = [chunk.numpy() for chunk in inputs.split([16, 3, 81, 1, 99], -1)]
    found = np.concatenate(list(page["stream"](folder / "stream.onnx", chunks)), 1)  # type: ignore[operator]
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-4)
    integer = write_export(choice_of(streamed_smoke, INTEGER), tmp_path / "integer", {})
    assert not (integer / "stream.onnx").exists()

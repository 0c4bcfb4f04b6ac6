"""One ONNX file from a recording to its scores: the features of a task, the delivered model, and the task's scores."""

import onnx
import torch
from onnx import compose, version_converter
from torch import Tensor

from bench.errors import blaming
from bench.export.model import OnnxModel, Predictor, export_graph
from bench.plugins.sounds import SoundScoring

INPUT, OUTPUT = "recording", "scores"
FACTS = ("sample_rate", "shortest", "step")  # of ``SoundScoring``, which a scorer has as metadata
SECONDS = 2  # of the noise that a scorer is traced and compared with


def scorer_of(model: OnnxModel, recordings: SoundScoring, task: str) -> OnnxModel:
    """The file around a delivered model, whose own nodes stay as they are.

    Its input ``recording`` is float64 in [-1, 1], (samples,), at the rate that its metadata name; its output
    ``scores`` is (n,).

    Raises:
        BenchError: features or scores of the task cannot be written as ONNX.
    """
    sound = _noise(recordings)
    with blaming(f"sound_scoring() of task {task}"), torch.no_grad():
        features = recordings.features(sound)
        outputs = Predictor(model)(features)
        time = {features.dim() - 1: "time"}
        front = export_graph(recordings.features, [sound], {INPUT: {0: "samples"}, "features": time}, fold=False)
        ends = {axis: f"axis {axis}" for axis in range(outputs.dim())}
        back = export_graph(recordings.scores, [outputs], {"network": ends, OUTPUT: {0: "scores"}})
    network = onnx.load_from_string(model.data)
    whole = compose.merge_models(_like(network, front, "front/"), network, [("features", "input")])
    whole = compose.merge_models(whole, _like(network, back, "back/"), [("output", "network")])
    facts = {"task": task, "meaning": recordings.meaning, **{name: getattr(recordings, name) for name in FACTS}}
    onnx.helper.set_model_props(whole, {name: str(value) for name, value in facts.items()})
    onnx.checker.check_model(whole)
    return OnnxModel(whole.SerializeToString())


def difference(scorer: OnnxModel, model: OnnxModel, recordings: SoundScoring) -> float:
    """The largest one between the scores of the file and those that PyTorch's features and the model give, on noise."""
    sound = _noise(recordings)
    with torch.no_grad():
        expected = recordings.scores(Predictor(model)(recordings.features(sound)))
    found = scorer.session().run(None, {INPUT: sound.numpy()})[0]
    return float((torch.from_numpy(found) - expected).abs().max())


def _like(network: onnx.ModelProto, part: OnnxModel, prefix: str) -> onnx.ModelProto:
    """A part in the version of the network's operators, its names apart from those of the network."""
    loaded = onnx.load_from_string(part.data)
    opset = next(entry.version for entry in network.opset_import if entry.domain in ("", "ai.onnx"))
    if opset != loaded.opset_import[0].version:
        loaded = version_converter.convert_version(loaded, opset)
    loaded.ir_version = network.ir_version
    return compose.add_prefix(loaded, prefix, rename_inputs=False, rename_outputs=False)


def _noise(recordings: SoundScoring) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    count = max(recordings.shortest, SECONDS * recordings.sample_rate)
    return 0.1 * torch.randn(count, generator=generator, dtype=torch.float64)

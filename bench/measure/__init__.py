"""What a finished model costs: MACs, bit operations, bytes, latency."""

from bench.measure.costs import Costs, file_costs
from bench.measure.latency import Latency, Loaded, measure_latency
from bench.measure.macs import count_macs
from bench.measure.onnx_model import OnnxModel, Predictor, export_onnx
from bench.measure.plain import require_plain

__all__ = [
    "Costs",
    "Latency",
    "Loaded",
    "OnnxModel",
    "Predictor",
    "count_macs",
    "export_onnx",
    "file_costs",
    "measure_latency",
    "require_plain",
]

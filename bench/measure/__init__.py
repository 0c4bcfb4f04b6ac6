"""What a finished model costs: MACs, bit operations, bytes, latency."""

from bench.measure.costs import Costs, file_costs
from bench.measure.latency import Latency, measure_latency
from bench.measure.macs import count_macs
from bench.measure.onnx_model import OnnxModel, Predictor, export_onnx

__all__ = [
    "Costs",
    "Latency",
    "OnnxModel",
    "Predictor",
    "count_macs",
    "export_onnx",
    "file_costs",
    "measure_latency",
]

"""The widths of any model: which channels live and die together, what they cost, how to gate and to remove them."""

from typing import Literal

#: what can be paid for: multiply-accumulates, bytes of the exported file, its peak memory, its latency on this machine
CostAxis = Literal["macs", "bytes", "memory", "latency"]
#: of the dense model
IN_WORDS: dict[str, str] = {"macs": "compute", "bytes": "file size", "memory": "peak memory", "latency": "latency"}
#: of a budget, what may be delivered: nothing is rounded in anybody's favour, but a latency is a measurement
ALLOWED: dict[str, float] = {"macs": 1.0, "bytes": 1.0, "memory": 1.0, "latency": 1.03}

"""Scores with ONNX Runtime alone: python score.py FILE ... (WAV, 16 bits, one channel; or .npy for model.onnx)."""

import os
import sys
import wave
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read when ONNX Runtime is imported
import onnxruntime

if __name__ == "__main__":
    file = next(path for name in ("scorer.onnx", "model.onnx") if (path := Path(__file__).with_name(name)).exists())
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    rate = session.get_modelmeta().custom_metadata_map.get("sample_rate")  # none where arrays are scored
    for name in sys.argv[1:] or sys.exit(__doc__):
        if rate is None:
            inputs = {"input": np.load(name).astype(np.float32)}
        else:
            with wave.open(name) as sound:
                if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (int(rate), 1, 2):
                    sys.exit(f"{name}: expected {rate} Hz, one channel, 16 bits; convert it first")
                inputs = {"recording": np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768}
        print(name, *session.run(None, inputs)[0].ravel().tolist())

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
    facts = session.get_modelmeta().custom_metadata_map  # of a scorer; none where arrays are scored
    rate, shortest = int(facts.get("sample_rate", 0)), int(facts.get("shortest", 0))
    for name in sys.argv[1:] or sys.exit(__doc__):
        if not rate:
            outputs = session.run(None, {"input": np.load(name).astype(np.float32)})[0]
        else:
            with wave.open(name) as sound:
                found, frames = (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()), sound.getnframes()
                if found != (rate, 1, 2) or frames < shortest:
                    sys.exit(f"{name}: expected {rate} Hz, one channel, 16 bits, {shortest} samples at least")
                recording = np.frombuffer(sound.readframes(frames), "<i2") / 32768
            outputs = session.run(None, {"recording": recording})[0].reshape(1, -1)
        for row in outputs.reshape(len(outputs), -1):  # one recording, or each example of an array
            print(name, *row.tolist())

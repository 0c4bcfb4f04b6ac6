"""The deployment format: the ONNX file of a finished model, what it costs, how fast it is."""

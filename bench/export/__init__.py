"""The deployment format: the ONNX file of a finished model, what it costs, how fast it is."""

WEIGHTS = "model.safetensors"  # of a PyTorch module; these names stand here as a report needs them without PyTorch
RECIPE = "recipe.json"
STREAM = "stream.onnx"  # of a model that runs chunk by chunk
CHUNK = "chunk"  # of ``timed_inputs``: what a streaming file is called with
FLOAT_BITS = 32 * 32  # bit operations of a multiply-accumulate of two floats

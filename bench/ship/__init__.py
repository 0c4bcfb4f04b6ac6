"""Taking a model home: which point, the files of it, and scoring recordings with them."""

SCORER = "scorer.onnx"  # from a recording to its scores
CARD = "MODEL_CARD.md"
SCRIPT = "score.py"

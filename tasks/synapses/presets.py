"""The training effort of each preset, and the size of what is trained on."""

from bench import Plan
from tasks._presets import ASKED_FOR, quick_plan

SMOKE = Plan(
    dense_steps=20,
    finetune_steps=10,
    batch_size=4,
    learning_rate=1e-2,
    trials=2,
    left_out=ASKED_FOR,
    budgets=(0.5, 0.25),
    fields={"size": "tiny", "crop": (4, 16, 16), "tile": (6, 32, 32), "shape": (6, 48, 48), "volumes": (4, 2, 3)},
)
QUICK = quick_plan(dense_steps=150, finetune_steps=50, batch_size=4, learning_rate=1e-2)

"""The training effort of each preset, and the size of what is trained on."""

from bench import full_plan, paper_plan, quick_plan, smoke_plan

BUDGETS = (0.75, 0.5, 0.25, 0.125, 0.0625)

SMOKE = smoke_plan(
    batch_size=16,
    learning_rate=1e-2,
    budgets=(0.5, 0.25),
    fields={
        "size": "tiny",
        "crop_frames": 50,
        "mixtures": (64, 24, 24),
        "seconds": 2.0,
        "speakers": 10,
        "utterances": 2,
        "noises": 1,
    },
)
QUICK = quick_plan(dense_steps=150, finetune_steps=50, batch_size=32, learning_rate=1e-2)
FULL = full_plan(dense_steps=300, finetune_steps=100, batch_size=32, learning_rate=1e-2)
PAPER = paper_plan(
    dense_steps=20_000,
    finetune_steps=7_500,
    batch_size=32,
    budgets=BUDGETS,
    fields={
        "size": "paper",
        "crop_frames": 200,
        "mixtures": (8000, 1000, 2000),
        "seconds": 8.0,
        "speakers": 110,
        "utterances": 60,
        "noises": 60,
    },
)

"""The training effort of each preset, and the size of what is trained on."""

from bench import full_plan, paper_plan, quick_plan, smoke_plan

SMOKE = smoke_plan(
    batch_size=4,
    learning_rate=1e-2,
    budgets=(0.5, 0.25),
    fields={"size": "tiny", "crop": (4, 16, 16), "shape": (7, 40, 40), "volumes": (4, 2, 3)},
)
QUICK = quick_plan(
    dense_steps=780, finetune_steps=260, batch_size=4, learning_rate=3e-2, seeds=3, budgets=(0.25, 0.0625)
)
FULL = full_plan(dense_steps=1500, finetune_steps=500, batch_size=4, learning_rate=1.5e-2)
#: Widths of Lee et al. (arXiv 1706.00120) and crops of 18 sections of 160 by 160 pixels, as public implementations of
#: their network have both; the voxels are CREMI's. Steps, batch and learning rate are ours.
PAPER = paper_plan(
    dense_steps=150_000,
    finetune_steps=50_000,
    batch_size=2,
    trials=8,
    budgets=(0.5, 0.25, 0.125, 0.0625),
    fields={
        "model": "residual",
        "size": "paper",
        "crop": (18, 160, 160),
        "voxel_nm": (40, 4, 4),
        "shape": (24, 320, 320),
        "volumes": (60, 10, 20),
    },
)

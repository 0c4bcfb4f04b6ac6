"""How long, and on how much, networks that tell faces apart train."""

from bench import full_plan, paper_plan, quick_plan, smoke_plan

PRESETS = {
    "smoke": smoke_plan(
        batch_size=16,
        learning_rate=1e-2,
        budgets=(0.25, 0.0625),
        fields={"pixels": 24, "people": (24, 12, 16), "pictures": (6, 3, 3), "group": 4, "size": 16},
    ),
    # three seeds, not six, are what ten minutes on two cores allow
    "quick": quick_plan(
        dense_steps=480, finetune_steps=160, batch_size=64, learning_rate=1e-2, seeds=3, budgets=(0.25, 0.0625)
    ),
    "full": full_plan(dense_steps=1500, finetune_steps=500, batch_size=64, learning_rate=1e-2),
    # the published networks: 64 channels, 112 x 112 pixels, embeddings of 512 numbers, scale 64, margin 0.5
    "paper": paper_plan(
        dense_steps=24_000,
        finetune_steps=8_000,
        batch_size=128,
        weight_decay=5e-4,
        fields={
            "model": "resnet50",
            "width": 64,
            "stem_stride": 1,
            "pixels": 112,
            "size": 512,
            "scale": 64.0,
            "margin": 0.5,
            "people": (4_000, 400, 800),
        },
    ),
}

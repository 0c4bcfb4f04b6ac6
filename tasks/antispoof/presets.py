"""How long, and on how much, anti-spoofing models train."""

from bench import Plan

PRESETS = {
    "smoke": Plan(
        dense_steps=20,
        finetune_steps=10,
        batch_size=16,
        learning_rate=3e-3,
        trials=2,
        budgets=(0.25, 0.0625),
        fields={"utterances": (96, 60, 66), "speakers": (12, 6, 6), "seconds": 1.0, "scored_frames": 100},
    ),
    "quick": Plan(dense_steps=525, finetune_steps=175, batch_size=32, learning_rate=3e-3),
    "full": Plan(
        dense_steps=1200,
        finetune_steps=450,
        batch_size=32,
        learning_rate=3e-3,
        trials=16,
        seeds=3,
        fields={"width": 16, "crop_frames": 150, "utterances": (4800, 1200, 2200), "speakers": (120, 40, 60)},
    ),
    "paper": Plan(
        dense_steps=20_000,
        finetune_steps=7_500,
        batch_size=32,
        learning_rate=1e-3,
        trials=16,
        seeds=3,
        fields={
            "model": "resnet34",
            "width": 32,
            "stem_stride": 1,
            "crop_frames": 400,
            "scored_frames": 400,
            "seconds": 4.0,
            "utterances": (12_000, 3_000, 6_000),
            "speakers": (240, 60, 120),
        },
    ),
}

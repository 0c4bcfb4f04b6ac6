"""How long, and on how much, anti-spoofing models train."""

from bench import full_plan, paper_plan, quick_plan, smoke_plan

PRESETS = {
    "smoke": smoke_plan(
        batch_size=16,
        learning_rate=3e-3,
        budgets=(0.25, 0.0625),
        fields={"width": 8, "utterances": (96, 60, 66), "speakers": (12, 6, 6), "seconds": 1.0, "scored_frames": 100},
    ),
    # twice as many steps with half the batch cost more and leave the dense models of different seeds further apart
    "quick": quick_plan(dense_steps=525, finetune_steps=175, batch_size=64, learning_rate=4e-3),
    "full": full_plan(dense_steps=750, finetune_steps=250, batch_size=64, learning_rate=4e-3),
    "paper": paper_plan(
        dense_steps=20_000,
        finetune_steps=7_500,
        batch_size=32,
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

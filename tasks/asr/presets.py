"""How long, and on how much, speech recognition models train."""

from bench import full_plan, paper_plan, quick_plan, smoke_plan

PRESETS = {
    "smoke": smoke_plan(
        batch_size=8,
        learning_rate=6e-3,
        budgets=(0.5, 0.25),
        fields={
            "width": 16,
            "layers": 1,
            "bands": 16,
            "seconds": 1.2,
            "utterances": (48, 18, 18),
            "speakers": (6, 3, 3),
            "words": (1, 2),
        },
    ),
    "quick": quick_plan(dense_steps=450, finetune_steps=150, batch_size=32, learning_rate=6e-3, seeds=3),
    "full": full_plan(dense_steps=900, finetune_steps=300, batch_size=32, learning_rate=6e-3),
    "paper": paper_plan(
        dense_steps=40_000,
        finetune_steps=15_000,
        batch_size=32,
        fields={
            "width": 256,
            "layers": 12,
            "bands": 80,
            "seconds": 17.0,  # the longest utterances of LibriSpeech's train-clean-100, but for a few
            "utterances": (12_000, 1_000, 2_000),
            "speakers": (250, 40, 40),
            "words": (8, 30),
        },
    ),
}

"""The words of a cell: what tells one requested combination from another, by column name."""

CELL_COLUMNS = (
    "role", "dataset", "model", "teacher", "alpha", "switch_epoch", "temperature", "seed",
)  # fmt: skip

PARAMETER_COLUMNS = (
    "epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "momentum", "init",
    "soft_loss", "precision", "train_size", "validation", "split_seed", "lr_schedule", "early_stop",
    "start", "begin_epoch", "ramp", "teacher_epochs", "shuffle", "augment", "pretrained",
    "frozen_epochs", "classes", "scaling", "image_size", "train_fraction", "label_noise",
    "label_noise_part", "target_noise", "corruption", "corruption_strength", "corruption_fraction",
    "corruption_on",
)  # fmt: skip
"""Further parameters of the recipe and the split."""

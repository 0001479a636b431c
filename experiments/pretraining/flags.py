"""The flags of training, in groups: what makes it this training, and how it is watched."""

from specjax._flags import Flag, at_least

HEADS = 6

TRAINING = {
    "objective": Flag(
        "enum",
        "scenes",
        "scenes: drawn scenes and their masks, nothing from outside. dino: self-distillation"
        " without labels on the images of --data_dir.",
        {"enum_values": ["scenes", "dino"]},
    ),
    "steps": Flag("integer", 8000, "Training steps.", at_least(1)),
    "seed": Flag("integer", 0, "Seed of the first weights and of the images' order.", at_least(0)),
    "learning_rate": Flag(
        "float",
        None,
        "Highest learning rate of AdamW. Default: 0.001 for scenes; for dino 0.0005 per 256 images"
        " of a batch.",
        {"lower_bound": 0.0},
    ),
}

# The model's, where it does not start from a checkpoint.
SHAPE = {
    "layers": Flag("integer", 6, "Blocks of the ViT.", at_least(2)),
    "mlp_size": Flag("integer", 768, "Width of a block's perceptron.", at_least(1)),
    "hidden_size": Flag("integer", 384, f"Channels: {HEADS} heads share them.", at_least(HEADS)),
}

# Arguments of `experiments.pretraining.crops.CropBatches`.
CROPS = {
    "batch_size": Flag("integer", 16, "For dino: images of a step.", at_least(1)),
    "small_crops": Flag("integer", 6, "For dino: small crops, beside two large ones.", at_least(0)),
    "large_side": Flag("integer", 224, "For dino: side of a large crop in pixels.", at_least(1)),
    "small_side": Flag("integer", 96, "For dino: side of a small crop.", at_least(1)),
}

DINO = {
    "data_dir": Flag("string", None, "For dino: images, as a folder, an image, a glob or a list."),
    **CROPS,
    "prototypes": Flag(
        "integer",
        4096,
        "For dino: outputs of the projection head (65,536 in the paper, for a million images).",
        at_least(2),
    ),
}

# Arguments of `experiments.pretraining.loop.train`.
WATCHING = {
    "log_every": Flag("integer", 50, "Steps between lines of the log.", at_least(1)),
    "save_every": Flag("integer", 500, "Steps between saved states.", at_least(1)),
    "validate_every": Flag(
        "integer",
        1000,
        "Steps between spectral scores on scenes that no training sees.",
        at_least(1),
    ),
    "validation_scenes": Flag("integer", 16, "How many such scenes.", at_least(1)),
    "overwrite": Flag("bool", False, "Start anew instead of going on from a saved state."),
}

FLAGS = {
    **TRAINING,
    **SHAPE,
    **DINO,
    **WATCHING,
    "init": Flag(
        "string",
        None,
        "Start from this checkpoint (a Hugging Face id, a folder, a file or specjax-mini) instead"
        " of random weights; it also sets the model's shape.",
    ),
    "output_dir": Flag(
        "string", "outputs/specjax-mini", "Where the backbone, the training state and the log go."
    ),
    "workers": Flag("integer", 1, "Processes that draw, or threads that decode.", at_least(1)),
}

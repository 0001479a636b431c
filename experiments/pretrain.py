r"""Train a small backbone, on drawn scenes or on your own images.

    python -m experiments.pretrain --output_dir=outputs/specjax-mini

makes the built-in backbone from nothing but drawn scenes, whose exact masks the objective uses
(`experiments.pretraining.scene_objective`).

    python -m experiments.pretrain --objective=dino --data_dir=photos --init=dino-vits16 \
        --output_dir=outputs/mine --steps=1000

adapts a backbone to a folder of images without labels, by self-distillation
(`experiments.pretraining.dino_objective`).

The folder then holds a ViT in the Hugging Face layout, for `--checkpoint=outputs/mine`. An
interrupted run goes on from its last saved state when the same command is given again.
"""

import pathlib
from collections.abc import Sequence

from absl import flags
from flax import nnx

from experiments import datasets
from experiments.loop import runner
from experiments.pretraining import loop
from experiments.pretraining.crops import CropBatches
from experiments.pretraining.dino_objective import DinoObjective
from experiments.pretraining.scene_batches import PATCH_SIZE, SceneBatches
from experiments.pretraining.scene_objective import SceneObjective
from experiments.pretraining.training import Trainer
from specjax.errors import SpecjaxError
from specjax.images import IMAGENET_MEAN, IMAGENET_STD
from specjax.models.checkpoints.loading import load_checkpoint
from specjax.models.config import ViTConfig
from specjax.models.vit import ViT

_HEADS = 6
# What makes it this training, for each objective; the rest only says how it is watched.
_COMMON = ("objective", "steps", "seed", "learning_rate")
_SHAPE = ("layers", "mlp_size", "hidden_size")
_DINO = ("data_dir", "batch_size", "small_crops", "large_side", "small_side", "prototypes")


def define() -> None:
    """Declare the flags."""
    text, integer = flags.DEFINE_string, flags.DEFINE_integer
    flags.DEFINE_enum(
        "objective",
        "scenes",
        ["scenes", "dino"],
        "scenes: drawn scenes and their masks, nothing from outside. dino: self-distillation"
        " without labels on the images of --data_dir.",
    )
    text("output_dir", "outputs/specjax-mini", "Where the backbone, the training state and the log"
         " go.")
    flags.DEFINE_bool("overwrite", False, "Start anew instead of going on from a saved state.")
    integer("steps", 8000, "Training steps.", lower_bound=1)
    integer("seed", 0, "Seed of the first weights and of the images' order.", lower_bound=0)
    flags.DEFINE_float("learning_rate", None, "Highest learning rate of AdamW. Default: 0.001 for"
                       " scenes; for dino 0.0005 per 256 images of a batch.", lower_bound=0.0)
    text("init", None, "Start from this checkpoint (a Hugging Face id, a folder, a file or"
         " specjax-mini) instead of random weights; it also sets the model's shape.")
    integer("layers", 6, "Blocks of the ViT.", lower_bound=2)
    integer("mlp_size", 768, "Width of a block's perceptron.", lower_bound=1)
    integer("hidden_size", 384, f"Channels: {_HEADS} heads share them.", lower_bound=_HEADS)
    text("data_dir", None, "For dino: a folder of images, an image, a glob or a text list of"
         " paths.")
    integer("batch_size", 16, "For dino: images of a step.", lower_bound=1)
    integer("small_crops", 6, "For dino: small crops of an image, beside its two large ones.",
            lower_bound=0)
    integer("large_side", 224, "For dino: side of a large crop in pixels.", lower_bound=1)
    integer("small_side", 96, "For dino: side of a small crop.", lower_bound=1)
    integer("prototypes", 4096, "For dino: outputs of the projection head (65,536 in the paper, for"
            " a million images).", lower_bound=2)
    integer("workers", 1, "Processes that draw scenes, or threads that decode images.",
            lower_bound=1)
    integer("log_every", 50, "Steps between lines of the log.", lower_bound=1)
    integer("save_every", 500, "Steps between saved states.", lower_bound=1)
    integer("validate_every", 1000, "Steps between spectral scores on drawn scenes that no training"
            " sees.", lower_bound=1)
    integer("validation_scenes", 16, "How many such scenes.", lower_bound=1)


def main(arguments: Sequence[str]) -> int:
    """Read the flags and train."""
    values = flags.FLAGS
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; images go to --data_dir")
    if (values.objective == "dino") != (values.data_dir is not None):
        raise SpecjaxError("--data_dir and --objective=dino go together: one was given alone")
    settings = {name: getattr(values, name) for name in _COMMON}
    if values.init is None:
        model, colours = _new_model(values), (IMAGENET_MEAN, IMAGENET_STD)
        settings.update({name: getattr(values, name) for name in _SHAPE})
    else:
        checkpoint = load_checkpoint(values.init)
        model, colours = checkpoint.model, (checkpoint.mean, checkpoint.std)
        settings["init"] = checkpoint.digest
    if values.objective == "dino":
        settings.update({name: getattr(values, name) for name in _DINO})
        objective = DinoObjective(model, prototypes=values.prototypes, seed=values.seed)
        stream = _crops(values, model.config.patch_size, colours)
        learning_rate = 5e-4 * values.batch_size / 256
    else:
        _check_scene_model(model.config, colours)
        objective = SceneObjective(model)
        stream = SceneBatches(values.seed, workers=values.workers)
        learning_rate = 1e-3
    if values.learning_rate is not None:
        learning_rate = values.learning_rate
    settings["learning_rate"] = learning_rate
    folder = pathlib.Path(values.output_dir)
    loop.train(
        Trainer(objective, steps=values.steps, learning_rate=learning_rate),
        stream,
        folder,
        settings,
        steps=values.steps,
        log_every=values.log_every,
        save_every=values.save_every,
        validate_every=values.validate_every,
        validation_scenes=values.validation_scenes,
        colours=colours,
        overwrite=values.overwrite,
    )
    print(folder)
    return 0


def _new_model(values: flags.FlagValues) -> ViT:
    if values.hidden_size % _HEADS:
        raise SpecjaxError(f"--hidden_size={values.hidden_size} must be a multiple of {_HEADS}")
    config = ViTConfig(
        hidden_size=values.hidden_size,
        num_layers=values.layers,
        num_heads=_HEADS,
        mlp_size=values.mlp_size,
        patch_size=PATCH_SIZE,
        image_size=224,
        layer_norm_eps=1e-6,
    )
    return ViT(config, rngs=nnx.Rngs(values.seed))


def _check_scene_model(config: ViTConfig, colours) -> None:
    """Scenes are cut into patches, and their colours normalised, in one way only."""
    if config.patch_size != PATCH_SIZE or config.num_layers < 2:
        raise SpecjaxError(
            f"--objective=scenes trains models of patch {PATCH_SIZE} and at least two blocks"
        )
    if colours != (IMAGENET_MEAN, IMAGENET_STD):
        raise SpecjaxError("--objective=scenes takes ImageNet's mean and deviation of colours only")


def _crops(values: flags.FlagValues, patch_size: int, colours) -> CropBatches:
    for name in ("large_side", "small_side"):
        if getattr(values, name) % patch_size:
            raise SpecjaxError(
                f"--{name}={getattr(values, name)} must be a multiple of the patch, {patch_size}"
            )
    mean, deviation = colours
    return CropBatches(
        tuple(datasets.open_dataset("folder", data_dir=values.data_dir).records()),
        values.seed,
        size=values.batch_size,
        small_crops=values.small_crops,
        large_side=values.large_side,
        small_side=values.small_side,
        patch_size=patch_size,
        mean=mean,
        std=deviation,
        workers=values.workers,
    )


if __name__ == "__main__":
    define()
    runner.execute(main)

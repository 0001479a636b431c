"""The flags of training, in groups, and the training that they describe."""

import pathlib
from typing import Any

from absl import flags
from flax import nnx

from experiments.datasets import open_dataset
from experiments.pretraining.bank import drawn_scenes, make_bank
from experiments.pretraining.composed_batches import ComposedBatches
from experiments.pretraining.crops import CropBatches
from experiments.pretraining.dino_objective import DinoObjective
from experiments.pretraining.distill_objective import DistillObjective
from experiments.pretraining.found_objects import find_objects
from experiments.pretraining.loop import Training
from experiments.pretraining.scene_batches import PATCH_SIZE, SceneBatches
from experiments.pretraining.scene_objective import SceneObjective
from experiments.pretraining.training import Colours, Objective
from specjax import IMAGENET_MEAN, IMAGENET_STD, SpecjaxError, ViT, ViTConfig, load_checkpoint
from specjax._flags import Flag, at_least

# What a network learns, the stream of its batches, and that of held-out images.
_Learned = tuple[Objective, Any, ComposedBatches | None]

_HEADS = 6
# For distill: one photograph in so many is held out.
_HOLD_OUT = 20


def _number(default: int, help: str, low: int = 1) -> Flag:
    return Flag("integer", default, help, at_least(low))


# They identify a training with any objective.
_TRAINING = {
    "objective": Flag(
        "enum",
        "scenes",
        "scenes: train on scenes that the program draws, with their masks; needs no data. dino:"
        " self-distillation on the images of --data_dir; needs no labels. distill: learn the"
        " features of --teacher, and the objects that they show, on the images of --data_dir and"
        " on drawn scenes; needs no labels.",
        {"enum_values": ["scenes", "dino", "distill"]},
    ),
    "steps": _number(8000, "Number of training steps."),
    "seed": _number(
        0, "Seed of the initial weights, and of the scenes or of the order and crops of images.", 0
    ),
    "learning_rate": Flag(
        "float",
        None,
        "Highest learning rate of AdamW. Default: 0.001; for dino 0.0005 x batch_size / 256.",
        {"lower_bound": 0.0},
    ),
}
# They identify a model that does not start from a checkpoint.
_SHAPE = {
    "layers": _number(6, "Number of blocks of the ViT; not used with --init.", 2),
    "mlp_size": _number(768, "Width of the hidden layer of a block's MLP; not used with --init."),
    "hidden_size": _number(
        384, f"Number of channels, a multiple of the {_HEADS} heads; not used with --init.", _HEADS
    ),
}
_DATA = {
    "data_dir": Flag(
        "string",
        None,
        "Required for dino and distill: a folder of images, an image, a glob or a text file that"
        " lists paths.",
    ),
    "batch_size": _number(16, "For dino and distill: images in each step."),
}
_DISTILL = {
    **_DATA,
    "scenes": _number(8192, "For distill: number of drawn scenes among the images; 0 for none.", 0),
    "features_weight": Flag(
        "float",
        1.0,
        "For distill: weight of the teacher's features in the loss; 0: learn only the objects that"
        " they show.",
        {"lower_bound": 0.0},
    ),
    "dtype": Flag(
        "enum",
        "float32",
        "For distill: precision of what is multiplied. bfloat16 is faster on GPUs and TPUs.",
        {"enum_values": ["float32", "bfloat16"]},
    ),
}
_CROPS = {
    "batch_size": _DATA["batch_size"],
    "small_crops": _number(
        6, "For dino: small crops of each image, besides its two large ones.", 0
    ),
    "large_side": _number(
        224, "For dino: side of a large crop in pixels, a multiple of the patch size."
    ),
    "small_side": _number(
        96, "For dino: side of a small crop in pixels, a multiple of the patch size."
    ),
}
_DINO = {
    **_DATA,
    **_CROPS,
    "prototypes": _number(
        4096,
        "For dino: number of outputs of the head (65,536 in the DINO paper, for a million images).",
        2,
    ),
}
# Arguments of `experiments.pretraining.loop.train`.
WATCHING = {
    "log_every": _number(50, "Steps between two lines of the log, which have the mean loss."),
    "save_every": _number(
        500, "Steps between two saved states, from which a training can be resumed."
    ),
    "validate_every": _number(
        1000, "Steps between two lines with scores, on drawn scenes that are not used for training."
    ),
    "validation_scenes": _number(16, "Number of drawn scenes for these scores; 0: no scores.", 0),
    "overwrite": Flag(
        "bool",
        False,
        "Start from the beginning, and delete the saved state and the log in --output_dir.",
    ),
}
FLAGS = {
    **_TRAINING,
    **_SHAPE,
    **_DINO,
    **_DISTILL,
    **WATCHING,
    "teacher": Flag(
        "string",
        None,
        "Required for distill: the checkpoint to learn from: a Hugging Face id, a folder or file.",
    ),
    "init": Flag(
        "string",
        None,
        "Checkpoint to start from: a Hugging Face id, a folder, a file or specjax-mini. It also"
        " sets the shape of the model. Default: random weights.",
    ),
    "output_dir": Flag(
        "string", "outputs/specjax-mini", "Folder for the backbone, the training state and the log."
    ),
    "workers": _number(
        1, "Number of processes that draw scenes, or of threads that decode images."
    ),
}


def training_of(values: flags.FlagValues) -> Training:
    """The training that the flags describe; SpecjaxError if they contradict each other."""
    own = {"scenes": {}, "dino": _DINO, "distill": _DISTILL}[values.objective]
    for name, objectives in (("data_dir", ("dino", "distill")), ("teacher", ("distill",))):
        if (values.objective in objectives) != (getattr(values, name) is not None):
            raise SpecjaxError(
                f"--{name} and --objective={' or '.join(objectives)} go together: give both or"
                " neither"
            )
    names = [*_TRAINING, *own, *(_SHAPE if values.init is None else ())]
    settings = {name: getattr(values, name) for name in names}
    if values.init is None:
        model, colours = _new_model(values), (IMAGENET_MEAN, IMAGENET_STD)
    else:
        checkpoint = load_checkpoint(values.init)
        model, colours = checkpoint.model, (checkpoint.mean, checkpoint.std)
        settings["init"] = checkpoint.digest
    if values.learning_rate is None:
        rate = 5e-4 * values.batch_size / 256 if values.objective == "dino" else 1e-3
        settings["learning_rate"] = rate
    learned = _OBJECTIVES[values.objective](values, model, colours, settings)
    rate = settings["learning_rate"]
    return Training(*learned, values.steps, rate, colours, settings)


def _scenes(values, model: ViT, colours: Colours, settings) -> _Learned:
    # Scenes are cut and normalised for this kind of model only.
    patched = model.config.patch_size == PATCH_SIZE and model.config.num_layers >= 2
    if not patched or colours != (IMAGENET_MEAN, IMAGENET_STD):
        raise SpecjaxError(
            f"--objective=scenes trains only models with patches of {PATCH_SIZE} pixels, at"
            " least two blocks, and ImageNet's mean and standard deviation of colours"
        )
    return SceneObjective(model), SceneBatches(values.seed, workers=values.workers), None


def _dino(values, model: ViT, colours: Colours, settings) -> _Learned:
    objective = DinoObjective(model, prototypes=values.prototypes, seed=values.seed)
    return objective, _crops(values, model.config.patch_size, colours), None


def _distill(values, model: ViT, colours: Colours, settings) -> _Learned:
    if model.config.num_layers < 2:
        raise SpecjaxError("--objective=distill trains only models with at least two blocks")
    teacher = load_checkpoint(values.teacher)
    settings["teacher"] = teacher.digest
    records = tuple(open_dataset("folder", data_dir=values.data_dir).records())
    folder = pathlib.Path(values.output_dir) / f"objects-{teacher.digest[:8]}"
    found = find_objects(records, teacher, folder)
    held_out = found[_HOLD_OUT - 1 :: _HOLD_OUT]
    found = [each for number, each in enumerate(found, start=1) if number % _HOLD_OUT]
    scenes = drawn_scenes(values.seed, values.scenes, workers=values.workers)
    channels = teacher.config.hidden_size
    objective = DistillObjective(
        model,
        teacher_channels=channels,
        weight=values.features_weight,
        seed=values.seed,
        dtype=values.dtype,
    )

    def batches(photographs, scenes):
        return ComposedBatches(
            make_bank([*photographs, *scenes]),
            len(photographs),
            teacher if values.features_weight else None,
            values.seed,
            model.config.patch_size,
            colours,
            values.batch_size,
            values.dtype,
        )

    return objective, batches(found, scenes), batches(held_out, []) if held_out else None


_OBJECTIVES = {"scenes": _scenes, "dino": _dino, "distill": _distill}


def _new_model(values: flags.FlagValues) -> ViT:
    if values.hidden_size % _HEADS:
        raise SpecjaxError(f"--hidden_size={values.hidden_size} must be a multiple of {_HEADS}")
    widths = {"hidden_size": values.hidden_size, "mlp_size": values.mlp_size, "num_heads": _HEADS}
    depth = {"num_layers": values.layers, "layer_norm_eps": 1e-6}
    config = ViTConfig(**widths, **depth, patch_size=PATCH_SIZE)
    return ViT(config, rngs=nnx.Rngs(values.seed))


def _crops(values: flags.FlagValues, patch_size: int, colours: Colours) -> CropBatches:
    for name in ("large_side", "small_side"):
        if (side := getattr(values, name)) % patch_size:
            raise SpecjaxError(
                f"--{name}={side} must be a multiple of the patch size, {patch_size}"
            )
    records = tuple(open_dataset("folder", data_dir=values.data_dir).records())
    sizes = {name: getattr(values, name) for name in _CROPS}
    return CropBatches(records, values.seed, patch_size, colours, workers=values.workers, **sizes)

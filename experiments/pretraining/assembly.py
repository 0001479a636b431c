"""What is trained and on what, as the flags ask for it."""

import dataclasses
from typing import Any

from absl import flags
from flax import nnx

from experiments.datasets import open_dataset
from experiments.pretraining.crops import CropBatches
from experiments.pretraining.dino_objective import DinoObjective
from experiments.pretraining.flags import CROPS, DINO, HEADS, SHAPE, TRAINING
from experiments.pretraining.scene_batches import PATCH_SIZE, SceneBatches
from experiments.pretraining.scene_objective import SceneObjective
from experiments.pretraining.streams import Colours, Stream
from experiments.pretraining.training import Objective
from specjax import IMAGENET_MEAN, IMAGENET_STD, SpecjaxError, ViT, ViTConfig, load_checkpoint


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """What is trained, before the first step.

    Attributes:
        objective: what is learnt.
        stream: what it is learnt from.
        steps: how many.
        learning_rate: the highest.
        colours: of the model.
        settings: what makes it this training and not another one, as JSON values.
    """

    objective: Objective
    stream: Stream
    steps: int
    learning_rate: float
    colours: Colours
    settings: dict[str, Any]


def training_of(values: flags.FlagValues) -> Training:
    """The training that the flags describe.

    Raises:
        SpecjaxError: flags that do not fit each other, a checkpoint or images that cannot be read.
    """
    dino = values.objective == "dino"
    if dino != (values.data_dir is not None):
        raise SpecjaxError("--data_dir and --objective=dino go together: one was given alone")
    names = [*TRAINING, *(DINO if dino else ()), *(SHAPE if values.init is None else ())]
    settings = {name: values[name].value for name in names}
    if values.init is None:
        model, colours = _new_model(values), (IMAGENET_MEAN, IMAGENET_STD)
    else:
        checkpoint = load_checkpoint(values.init)
        model, colours = checkpoint.model, (checkpoint.mean, checkpoint.std)
        settings["init"] = checkpoint.digest
    learning_rate = 5e-4 * values.batch_size / 256 if dino else 1e-3
    if values.learning_rate is not None:
        learning_rate = values.learning_rate
    settings["learning_rate"] = learning_rate
    if dino:
        objective = DinoObjective(model, prototypes=values.prototypes, seed=values.seed)
        stream = CropBatches(
            tuple(open_dataset("folder", data_dir=values.data_dir).records()),
            patch_size=model.config.patch_size,
            colours=colours,
            **{name: values[name].value for name in ("seed", "workers", *CROPS)},
        )
    else:
        _check_scene_model(model.config, colours)
        objective = SceneObjective(model)
        stream = SceneBatches(values.seed, workers=values.workers)
    return Training(objective, stream, values.steps, learning_rate, colours, settings)


def _new_model(values: flags.FlagValues) -> ViT:
    if values.hidden_size % HEADS:
        raise SpecjaxError(f"--hidden_size={values.hidden_size} must be a multiple of {HEADS}")
    config = ViTConfig(
        hidden_size=values.hidden_size,
        num_layers=values.layers,
        num_heads=HEADS,
        mlp_size=values.mlp_size,
        patch_size=PATCH_SIZE,
        layer_norm_eps=1e-6,
    )
    return ViT(config, rngs=nnx.Rngs(values.seed))


def _check_scene_model(config: ViTConfig, colours: Colours) -> None:
    """Scenes are cut into patches, and their colours normalised, in one way only."""
    if config.patch_size != PATCH_SIZE or config.num_layers < 2:
        raise SpecjaxError(
            f"--objective=scenes trains models of patch {PATCH_SIZE} and at least two blocks"
        )
    if colours != (IMAGENET_MEAN, IMAGENET_STD):
        raise SpecjaxError("--objective=scenes takes ImageNet's mean and deviation of colours only")

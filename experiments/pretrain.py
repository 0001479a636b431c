r"""Train a small backbone on drawn scenes, with nothing from outside.

    python -m experiments.pretrain --output_dir=outputs/specjax-mini

makes the built-in backbone: a ViT of few layers in the Hugging Face layout, which
`--checkpoint=outputs/specjax-mini` uses. The scenes come with exact masks, and the objective uses
them (`experiments.pretraining.objective`). An interrupted run goes on from its last saved state.
"""

import json
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np
import tqdm
from absl import flags

from experiments.harness import runner
from experiments.harness.files import write_json
from experiments.pretraining.batches import PATCH_SIZE, SceneBatches
from experiments.pretraining.training import Trainer
from experiments.pretraining.validation import spectral_scores
from specjax.errors import UserError
from specjax.images import IMAGENET_MEAN, IMAGENET_STD
from specjax.models.config import ViTConfig
from specjax.models.export import save_checkpoint

_HEADS = 6
_STATE, _LOG, _SETTINGS = "state.npz", "log.jsonl", "training.json"


def define() -> None:
    """Declare the flags."""
    integer = flags.DEFINE_integer
    flags.DEFINE_string(
        "output_dir",
        "outputs/specjax-mini",
        "Where the backbone, the training state and the log go.",
    )
    flags.DEFINE_bool("overwrite", False, "Start anew instead of going on from a saved state.")
    integer("steps", 8000, "Training steps, of about 1,500 tokens each.", lower_bound=1)
    integer("seed", 0, "Seed of the first weights and of the scenes.", lower_bound=0)
    flags.DEFINE_float("learning_rate", 1e-3, "Highest learning rate of AdamW.", lower_bound=0.0)
    integer("layers", 6, "Blocks of the ViT.", lower_bound=1)
    integer("mlp_size", 768, "Width of a block's perceptron.", lower_bound=1)
    integer("hidden_size", 384, "Channels: 6 heads share them.", lower_bound=6)
    integer("workers", 1, "Processes that draw scenes.", lower_bound=1)
    integer("log_every", 50, "Steps between lines of the log.", lower_bound=1)
    integer("save_every", 500, "Steps between saved states.", lower_bound=1)
    integer(
        "validate_every", 1000, "Steps between spectral scores on validation scenes.", lower_bound=1
    )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and train."""
    values = flags.FLAGS
    if len(arguments) > 1:
        raise UserError(f"unexpected argument {arguments[1]!r}")
    if values.hidden_size % _HEADS:
        raise UserError(f"--hidden_size={values.hidden_size} must be a multiple of {_HEADS}")
    folder = pathlib.Path(values.output_dir)
    settings = {
        name: getattr(values, name)
        for name in ("steps", "seed", "learning_rate", "layers", "mlp_size", "hidden_size")
    }
    trainer = Trainer(
        ViTConfig(
            hidden_size=values.hidden_size,
            num_layers=values.layers,
            num_heads=_HEADS,
            mlp_size=values.mlp_size,
            patch_size=PATCH_SIZE,
            image_size=224,
            layer_norm_eps=1e-6,
        ),
        steps=values.steps,
        learning_rate=values.learning_rate,
        seed=values.seed,
    )
    start = _resume(folder, settings, trainer, overwrite=values.overwrite)
    log = _Log(folder / _LOG, start)
    losses, clock = [], time.perf_counter()
    batches = SceneBatches(values.seed, workers=values.workers).batches(start)
    bar = tqdm.tqdm(total=values.steps, initial=start, unit=" steps", disable=None)
    for step, batch in zip(range(start + 1, values.steps + 1), batches, strict=False):
        losses.append(trainer.step(batch))
        bar.update()
        last = step == values.steps
        if step % values.log_every == 0 or last:
            seconds = time.perf_counter() - clock
            mean = float(np.mean(losses))
            log.write(step=step, loss=mean, seconds_per_step=seconds / len(losses))
            losses, clock = [], time.perf_counter()
        if step % values.validate_every == 0 or last:
            third = values.hidden_size // 3
            scores = spectral_scores(trainer.model(), M=third, N=min(60, third))
            log.write(step=step, **scores)
            clock = time.perf_counter()
        if step % values.save_every == 0 or last:
            trainer.save(folder / _STATE, step)
    bar.close()
    save_checkpoint(
        folder,
        trainer.model(),
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
        dtype=np.float16,
    )
    print(folder)
    return 0


def _resume(folder: pathlib.Path, settings: dict, trainer: Trainer, *, overwrite: bool) -> int:
    """The step to go on from; a folder of other settings is refused."""
    path = folder / _SETTINGS
    if overwrite or not path.exists():
        for name in (_STATE, _LOG):
            (folder / name).unlink(missing_ok=True)
        write_json(path, settings)
    found = json.loads(path.read_text())
    differing = [f"--{name} was {found.get(name)}" for name in settings
                 if found.get(name) != settings[name]]
    if differing:
        raise UserError(
            f"{folder} holds another training ({', '.join(differing)}); choose another"
            " --output_dir, or --overwrite to start anew"
        )
    state = folder / _STATE
    return trainer.restore(state) if state.exists() else 0


class _Log:
    """Lines of JSON; those of steps that a resumed run repeats are dropped."""

    def __init__(self, path: pathlib.Path, start: int):
        kept = []
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["step"] <= start]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._path = path

    def write(self, **values: float) -> None:
        line = json.dumps(values)
        with self._path.open("a") as stream:
            stream.write(line + "\n")
        tqdm.tqdm.write(line, file=sys.stderr)


if __name__ == "__main__":
    define()
    runner.execute(main)

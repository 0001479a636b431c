"""The training loop and its folder: state, log, settings; an interrupted run goes on."""

import contextlib
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm

from experiments.pretraining.assembly import Training
from experiments.pretraining.training import Trainer
from experiments.pretraining.validation import spectral_scores
from specjax import SpecjaxError, save_checkpoint
from specjax._folder import refuse_differing, write_bytes, write_json

_STATE, _LOG, _SETTINGS = "state.npz", "log.jsonl", "training.json"


def train(
    training: Training,
    folder: pathlib.Path,
    *,
    log_every: int,
    save_every: int,
    validate_every: int,
    validation_scenes: int,
    overwrite: bool,
) -> None:
    """Train to the last step and write the backbone, in the Hugging Face layout.

    Args:
        training: what is trained.
        folder: where state, log and backbone go; a saved state in it is where training begins.
        log_every: steps between lines of the log.
        save_every: steps between saved states.
        validate_every: steps between spectral scores.
        validation_scenes: how many scenes a score is the mean of.
        overwrite: start anew.

    Raises:
        SpecjaxError: the folder holds another training, or a damaged one.
    """
    steps, (mean, deviation) = training.steps, training.colours
    trainer = Trainer(training.objective, steps=steps, learning_rate=training.learning_rate)
    start = _resume(folder, training.settings, trainer, overwrite=overwrite)
    log = _Log(folder / _LOG, start)
    losses, clock = [], time.perf_counter()
    bar = tqdm.tqdm(total=steps, initial=start, unit=" steps", disable=None, dynamic_ncols=True)
    with bar, contextlib.closing(training.stream.batches(start)) as batches:
        for step, batch in zip(range(start + 1, steps + 1), batches, strict=False):
            losses.append(trainer.step(batch))
            bar.update()
            last = step == steps
            if step % log_every == 0 or last:
                seconds = (time.perf_counter() - clock) / len(losses)
                log.write(step=step, loss=float(np.mean(losses)), seconds_per_step=seconds)
                losses, clock = [], time.perf_counter()
            if step % validate_every == 0 or last:
                model = trainer.model()
                third = model.config.hidden_size // 3
                scores = spectral_scores(
                    model, training.colours, M=third, N=min(60, third), scenes=validation_scenes
                )
                log.write(step=step, **scores)
                clock = time.perf_counter()
            if step % save_every == 0 or last:
                trainer.save(folder / _STATE)
    save_checkpoint(folder, trainer.model(), image_mean=mean, image_std=deviation, dtype=np.float16)


def _resume(
    folder: pathlib.Path, settings: Mapping[str, Any], trainer: Trainer, *, overwrite: bool
) -> int:
    """The step to go on from; a folder of other settings is refused."""
    path, state = folder / _SETTINGS, folder / _STATE
    if overwrite or not path.exists():
        for name in (_STATE, _LOG):
            (folder / name).unlink(missing_ok=True)
        write_json(path, settings)
    try:
        found = json.loads(path.read_text())
    except ValueError:
        raise SpecjaxError(f"{path} is damaged; use --overwrite to start anew") from None
    refuse_differing(folder, found, settings)
    return trainer.restore(state) if state.exists() else 0


@dataclasses.dataclass(frozen=True)
class _Log:
    """Lines of JSON; those of steps that a resumed run repeats are dropped."""

    path: pathlib.Path
    start: int

    def __post_init__(self):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        whole = [line for line in lines if line.endswith("}")]
        kept = [line for line in whole if json.loads(line)["step"] <= self.start]
        write_bytes(self.path, "".join(f"{line}\n" for line in kept).encode())

    def write(self, **values: float) -> None:
        line = json.dumps(values)
        with self.path.open("a") as stream:
            stream.write(line + "\n")
        tqdm.tqdm.write(line, file=sys.stderr)

"""The training loop and its folder: state, log, settings; an interrupted run goes on."""

import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import tqdm

from experiments.pretraining.training import Batch, Trainer
from experiments.pretraining.validation import spectral_scores
from specjax._folder import write_json
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.export import save_checkpoint

_STATE, _LOG, _SETTINGS = "state.npz", "log.jsonl", "training.json"


class Stream(Protocol):
    """Endless batches that may begin at any step."""

    def batches(self, start: int) -> Iterator[Batch]:
        """Batches from step `start` on."""


def train(
    trainer: Trainer,
    stream: Stream,
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    *,
    steps: int,
    log_every: int,
    save_every: int,
    validate_every: int,
    validation_scenes: int,
    colours: tuple[tuple[float, float, float], tuple[float, float, float]],
    overwrite: bool,
) -> None:
    """Train to the last step and write the backbone, in the Hugging Face layout.

    Args:
        trainer: a new one; its state is replaced by a saved one where there is one.
        stream: what it learns from.
        folder: where state, log and backbone go.
        settings: what makes it this training; a folder of another one is refused.
        steps: the last step.
        log_every: steps between lines of the log.
        save_every: steps between saved states.
        validate_every: steps between spectral scores.
        validation_scenes: how many scenes a score is the mean of.
        colours: mean and deviation that images are normalised with.
        overwrite: start anew.
    """
    start = _resume(folder, settings, trainer, overwrite=overwrite)
    log = _Log(folder / _LOG, start)
    losses, clock = [], time.perf_counter()
    bar = tqdm.tqdm(total=steps, initial=start, unit=" steps", disable=None, dynamic_ncols=True)
    with bar, contextlib.closing(stream.batches(start)) as batches:
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
                    model, colours, M=third, N=min(60, third), scenes=validation_scenes
                )
                log.write(step=step, **scores)
                clock = time.perf_counter()
            if step % save_every == 0 or last:
                trainer.save(folder / _STATE)
    mean, deviation = colours
    save_checkpoint(
        folder, trainer.model(), image_mean=mean, image_std=deviation, dtype=np.float16
    )


def _resume(
    folder: pathlib.Path, settings: Mapping[str, Any], trainer: Trainer, *, overwrite: bool
) -> int:
    """The step to go on from; a folder of other settings is refused."""
    path = folder / _SETTINGS
    if overwrite or not path.exists():
        for name in (_STATE, _LOG):
            (folder / name).unlink(missing_ok=True)
        write_json(path, settings)
    try:
        found = json.loads(path.read_text())
    except ValueError:
        raise SpecjaxError(f"{path} is damaged; use --overwrite to start anew") from None
    differing = [
        f"--{name} was {found.get(name)}"
        for name in dict.fromkeys([*found, *settings])
        if found.get(name) != settings.get(name)
    ]
    if differing:
        raise SpecjaxError(
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

"""The training loop, its scores, and its folder, from which a training is resumed."""

import contextlib
import functools
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from experiments.datasets import truth
from experiments.datasets.records import passes_paper_rule
from experiments.datasets.scenes.drawing import VALIDATION_STREAM, Scene, draw_scene
from experiments.pretraining.training import Colours, Objective, Trainer
from specjax import (
    Config,
    SpecjaxError,
    ViT,
    cut_patches,
    extract_features,
    f_score,
    instance_scores,
    save_checkpoint,
    segment,
)
from specjax._folder import refuse_differing, unwritable, write_bytes, write_json

_STATE, _LOG, _SETTINGS = "state.npz", "log.jsonl", "training.json"
# Height and width of validation scenes, in turn.
_SIZES = ((384, 512), (512, 384), (448, 448), (480, 640))
# At least as many instances as a scene has.
_MOST = 8
# Batches of the loss of held-out images.
_HELD_OUT_BATCHES = 6


class Training(NamedTuple):
    """What is trained; `settings`, JSON values, identify the training."""

    objective: Objective
    stream: Any  # its `batches(start)` continue from a step as an uninterrupted stream would
    held_out: Any  # a stream of images that are not learned from, for a loss in the log, or None
    steps: int
    learning_rate: float  # the highest
    colours: Colours
    settings: dict[str, Any]


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

    Training continues from a saved state in the folder; SpecjaxError if it is that of another
    training.
    """
    steps, (mean, deviation) = training.steps, training.colours
    trainer = Trainer(training.objective, steps=steps, learning_rate=training.learning_rate)
    start = _resume(folder, training.settings, trainer, overwrite=overwrite)
    log, losses, clock = _Log(folder / _LOG, start), [], time.perf_counter()
    bar = tqdm.tqdm(total=steps, initial=start, unit=" steps", disable=None, dynamic_ncols=True)
    with bar, contextlib.closing(training.stream.batches(start)) as batches:
        for step, batch in zip(range(start + 1, steps + 1), batches, strict=False):
            losses.append(trainer.step(batch))
            bar.update()
            last = step == steps
            if step % log_every == 0 or last:
                loss = float(np.mean(losses))  # Waits for the steps, so before the clock is read.
                seconds = (time.perf_counter() - clock) / len(losses)
                log.write(step=step, loss=loss, seconds_per_step=seconds)
                losses, clock = [], time.perf_counter()
            if validation_scenes and (step % validate_every == 0 or last):
                model, scenes = trainer.model(), validation_scenes
                M = model.config.hidden_size // 3
                scores = spectral_scores(model, training.colours, M=M, N=min(60, M), scenes=scenes)
                log.write(step=step, **scores)
                clock = time.perf_counter()
            if training.held_out is not None and (step % validate_every == 0 or last):
                log.write(step=step, held_out_loss=_held_out_loss(trainer, training.held_out))
                clock = time.perf_counter()
            if step % save_every == 0 or last:
                trainer.save(folder / _STATE)
    save_checkpoint(folder, trainer.model(), image_mean=mean, image_std=deviation, dtype=np.float16)


def _held_out_loss(trainer: Trainer, stream: Any) -> float:
    """The mean loss of the same few batches each time."""
    with contextlib.closing(stream.batches()) as batches:
        few = itertools.islice(batches, _HELD_OUT_BATCHES)
        return float(np.mean([trainer.loss(batch) for batch in few]))


def _resume(
    folder: pathlib.Path, settings: Mapping[str, Any], trainer: Trainer, *, overwrite: bool
) -> int:
    """The step to continue from; SpecjaxError if the folder has other settings."""
    path, state = folder / _SETTINGS, folder / _STATE
    if overwrite or not path.exists():
        state.unlink(missing_ok=True)
        (folder / _LOG).unlink(missing_ok=True)
        write_json(path, settings)
    try:
        found = json.loads(path.read_text())
    except ValueError:
        raise SpecjaxError(
            f"{path} is damaged; use --overwrite to start from the beginning"
        ) from None
    refuse_differing(folder, found, settings)
    return trainer.restore(state) if state.exists() else 0


class _Log:
    """Lines of JSON; those of steps that a resumed training repeats are dropped."""

    def __init__(self, path: pathlib.Path, start: int):
        lines = path.read_text().splitlines() if path.exists() else []
        whole = [line for line in lines if line.endswith("}")]
        kept = [line for line in whole if json.loads(line)["step"] <= start]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())
        self._path = path

    def write(self, **values: float) -> None:
        line = json.dumps(values)
        try:
            with self._path.open("a") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise unwritable(self._path, error) from error
        tqdm.tqdm.write(line, file=sys.stderr)


def spectral_scores(
    model: ViT, colours: Colours, *, M: int, N: int, scenes: int
) -> dict[str, float]:
    """Mean F-score and mIoU (number of instances known), as fractions, over validation scenes."""
    config, (mean, std), side = Config(M=M, N=N), colours, model.config.patch_size
    scores = []
    for scene in _drawn(scenes):
        patches = cut_patches(scene.image, patch_size=side, mean=mean, std=std)
        annotation = truth.on_grid(scene.instances, patches.tiling.grid, len(patches.values))
        grid = jnp.array(patches.tiling.grid)
        labels = _labels(model, patches.values, grid, annotation.count, config=config)
        instances, counted = jnp.asarray(annotation.instances), jnp.asarray(annotation.counted)
        # Every token of the foreground belongs to an instance.
        foreground = f_score(labels > 0, instances > 0, counted=counted)
        found = instance_scores(labels, instances, counted=counted, max_instances=_MOST)
        scores.append((float(foreground), float(found.mean)))
    return dict(zip(("f_score", "miou"), np.mean(scores, axis=0).tolist(), strict=True))


@functools.partial(jax.jit, static_argnames=("config",))
def _labels(model, patches, grid, count, *, config):
    features, key = extract_features(model, patches, grid), jax.random.key(0)
    return segment(features, grid, num_instances=count, key=key, config=config, max_instances=_MOST)


@functools.lru_cache(maxsize=1)
def _drawn(count: int) -> tuple[Scene, ...]:
    drawn = []
    for index, (height, width) in zip(range(count), itertools.cycle(_SIZES), strict=False):
        seed, rule = (VALIDATION_STREAM, index), passes_paper_rule
        drawn.append(draw_scene(seed, height=height, width=width, accept=rule))
    return tuple(drawn)

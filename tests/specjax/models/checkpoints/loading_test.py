import dataclasses
import http.server
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.layouts import infer_config, read_parameters
from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from specjax.models.checkpoints.skeleton import leaf_shapes
from specjax.models.vit import ViTConfig
from tests.support.torch_files import call, global_, write_torch_zip

TINY = ViTConfig(
    hidden_size=64, num_layers=2, num_heads=1, mlp_size=20, patch_size=4, image_size=20
)
HF_CONFIG = {
    "model_type": "vit",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 20,
    "patch_size": 4,
    "image_size": 20,
}
HF_NAMES = {
    "patch_embedding": "embeddings.patch_embeddings.projection",
    "cls_token": "embeddings.cls_token",
    "position_embeddings": "embeddings.position_embeddings",
    "norm": "layernorm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "projection": "attention.output.dense",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
    "blocks": "encoder.layer",
}
V5_NAMES = {
    **HF_NAMES,
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "projection": "attention.o_proj",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
    "blocks": "layers",
}
TIMM_NAMES = {
    "patch_embedding": "patch_embed.proj",
    "position_embeddings": "pos_embed",
    "query": "attn.0",
    "key": "attn.1",
    "value": "attn.2",
    "projection": "attn.proj",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
}


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint(TINY, seed=7)


@pytest.fixture(scope="module")
def leaves(checkpoint):
    return model_leaves(checkpoint.model)


@pytest.fixture
def tensors(leaves):
    return file_tensors(leaves, HF_NAMES)


def model_leaves(model):
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in flat}


def file_tensors(leaves, names, patch=4):
    """The tensors of a checkpoint file with these names, from the leaves of a model."""
    tensors = {}
    for path, leaf in leaves.items():
        *parts, last = path.split(".")
        if not parts:
            tensors[names.get(last, last)] = leaf[None]
            continue
        if last == "kernel" and parts == ["patch_embedding"]:
            leaf = leaf.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)
        elif last == "kernel":
            leaf = leaf.T
        key = ".".join([*(names.get(part, part) for part in parts), _FILE.get(last, last)])
        tensors[key] = leaf
    return tensors


_FILE = {"kernel": "weight", "scale": "weight"}


def timm_tensors(leaves):
    tensors = file_tensors(leaves, TIMM_NAMES)
    parts = {key: tensors.pop(key) for key in list(tensors) if re.search(r"attn\.\d", key)}
    for key in parts:
        if ".attn.0." in key:
            fused = [parts[key.replace("attn.0", f"attn.{i}")] for i in range(3)]
            tensors[key.replace("attn.0", "attn.qkv")] = np.concatenate(fused)
    return tensors


def save(folder, tensors, name="model.safetensors", config=HF_CONFIG):
    folder.mkdir(exist_ok=True)
    path = folder / name
    if name.endswith(".safetensors"):
        arrays = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
        safetensors.numpy.save_file(arrays, path)
    else:
        write_torch_zip(path, tensors)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return path


def refuse(source, *words, **options):
    with pytest.raises(SpecjaxError) as caught:
        load_checkpoint(source, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 2000
    for word in words:
        assert str(word) in message
    return message


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("layout", ["hf", "v5", "timm"])
def test_every_layout_and_format_gives_the_same_model(tmp_path, checkpoint, leaves, layout, name):
    tensors = {
        "hf": lambda: file_tensors(leaves, HF_NAMES),
        "v5": lambda: file_tensors(leaves, V5_NAMES),
        "timm": lambda: timm_tensors(leaves),
    }[layout]()
    path = save(tmp_path, tensors, name)
    for source in (tmp_path, str(path)):
        loaded = load_checkpoint(source)
        assert loaded.config == TINY
        assert loaded.digest == checkpoint.digest
        assert loaded.source == str(source)
        assert loaded.ignored == ()
        for key, array in model_leaves(loaded.model).items():
            np.testing.assert_array_equal(array, leaves[key])


def test_layouts_are_written_as_their_libraries_write_them(leaves):
    # The names above are pinned to published files, so that both sides cannot be wrong alike.
    hf, v5, timm = (
        file_tensors(leaves, HF_NAMES),
        file_tensors(leaves, V5_NAMES),
        timm_tensors(leaves),
    )
    assert hf["encoder.layer.1.attention.attention.query.weight"].shape == (64, 64)
    assert hf["encoder.layer.0.intermediate.dense.weight"].shape == (20, 64)
    assert hf["embeddings.patch_embeddings.projection.weight"].shape == (64, 3, 4, 4)
    assert v5["layers.1.attention.o_proj.bias"].shape == (64,)
    assert timm["blocks.0.attn.qkv.weight"].shape == (192, 64)
    assert timm["pos_embed"].shape == (1, 26, 64)
    assert {"cls_token", "norm.weight", "patch_embed.proj.bias", "blocks.1.norm2.bias"} < set(timm)


@pytest.mark.parametrize(
    ("prefix", "heads"),
    [
        ("vit.", {"classifier.weight": (10, 64), "classifier.bias": (10,)}),
        ("", {"pooler.dense.weight": (64, 64), "pooler.dense.bias": (64,)}),
    ],
)
def test_huggingface_heads_and_prefixes(tmp_path, checkpoint, tensors, prefix, heads):
    tensors = {prefix + key: array for key, array in tensors.items()}
    extra = {key: np.zeros(shape, np.float32) for key, shape in heads.items()}
    save(tmp_path, {**tensors, **extra})
    loaded = load_checkpoint(tmp_path)
    assert loaded.digest == checkpoint.digest
    assert loaded.ignored == tuple(sorted(heads))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_training_checkpoints_of_dino(tmp_path, checkpoint, leaves, prefix):
    head = prefix.replace("backbone.", "") + "head.mlp.0.weight"
    teacher = {prefix + key: array for key, array in timm_tensors(leaves).items()}
    teacher[head] = np.zeros((3, 64), np.float32)
    student = {key: np.zeros_like(array) for key, array in teacher.items()}
    path = save(tmp_path, {"student": student, "teacher": teacher, "epoch": 100}, "dino.pth")
    loaded = load_checkpoint(path)
    assert loaded.digest == checkpoint.digest
    assert loaded.ignored == (head,)


@pytest.mark.parametrize("layout", ["hf", "timm"])
def test_the_config_is_inferred_from_the_shapes(tmp_path, leaves, layout):
    tensors = file_tensors(leaves, HF_NAMES) if layout == "hf" else timm_tensors(leaves)
    eps = 1e-12 if layout == "hf" else 1e-6
    expected = dataclasses.replace(TINY, layer_norm_eps=eps)
    assert load_checkpoint(save(tmp_path, tensors, "a.pth", config=None)).config == expected
    # A config of something else is no config; timm's says nothing of the shape.
    for config in ({"model_type": "resnet"}, {"architecture": "vit_tiny"}):
        assert load_checkpoint(save(tmp_path, tensors, "a.pth", config)).config == expected
    # A folder is a whole: its config must be right.
    save(tmp_path, tensors, config={"model_type": "resnet"})
    refuse(tmp_path, "config.json", "resnet")


def test_inferred_shapes_of_a_published_model():
    config = ViTConfig(384, 12, 6, 1536, 8, 224, 1e-6)
    shapes = {
        "cls_token": (1, 1, 384),
        "pos_embed": (1, 785, 384),
        "patch_embed.proj.weight": (384, 3, 8, 8),
        **{f"blocks.{i}.mlp.fc1.weight": (1536, 384) for i in range(12)},
        "blocks.0.attn.qkv.bias": (1152,),
    }
    assert infer_config(shapes) == config
    del shapes["blocks.0.attn.qkv.bias"]
    assert infer_config(shapes) == dataclasses.replace(config, qkv_bias=False)
    for key, shape in (
        ("pos_embed", (1, 787, 384)),
        ("pos_embed", (785, 384)),
        ("patch_embed.proj.weight", (48, 3, 8, 8)),
        ("patch_embed.proj.weight", (384, 192)),
    ):
        with pytest.raises(SpecjaxError, match=r"config\.json"):
            infer_config({**shapes, key: shape})
    with pytest.raises(SpecjaxError, match="num_layers"):
        infer_config({**shapes, "blocks.9999.norm1.weight": (384,)})


def test_without_query_key_value_biases(tmp_path):
    checkpoint = random_checkpoint(dataclasses.replace(TINY, qkv_bias=False), seed=1)
    leaves = model_leaves(checkpoint.model)
    assert "blocks.0.key.bias" not in leaves
    config = {**HF_CONFIG, "qkv_bias": False}
    for tensors in (file_tensors(leaves, HF_NAMES), timm_tensors(leaves)):
        save(tmp_path, tensors, config=config)
        assert load_checkpoint(tmp_path).digest == checkpoint.digest
    refuse(save(tmp_path, tensors, config=HF_CONFIG), "2 missing", "blocks.0.attn.qkv.bias")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_become_single(tmp_path, tensors, leaves, dtype, name):
    save(tmp_path, {key: array.astype(dtype) for key, array in tensors.items()}, name)
    for key, array in model_leaves(load_checkpoint(tmp_path).model).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, leaves[key].astype(dtype).astype(np.float32))


def test_the_digest_tells_weights_and_configs_apart(tmp_path, checkpoint, tensors):
    tensors["layernorm.bias"] = tensors["layernorm.bias"].copy()
    tensors["layernorm.bias"][3] += 1e-3
    save(tmp_path, tensors)
    assert load_checkpoint(tmp_path).digest != checkpoint.digest
    other = random_checkpoint(dataclasses.replace(TINY, layer_norm_eps=1e-6), seed=7)
    assert other.digest != checkpoint.digest


def test_random_weights_are_fixed_by_the_seed(checkpoint):
    assert random_checkpoint(TINY, seed=7).digest == checkpoint.digest
    assert random_checkpoint(TINY, seed=8).digest != checkpoint.digest
    assert checkpoint.source == "random"
    # Pinned: results of earlier runs with random weights must stay comparable.
    assert checkpoint.digest.startswith("055dbcfa9810fa8d")
    assert all(np.ptp(array) > 0 for array in model_leaves(checkpoint.model).values())


def test_colours(tmp_path, tensors):
    save(tmp_path, tensors)
    assert load_checkpoint(tmp_path).mean == (0.485, 0.456, 0.406)
    assert load_checkpoint(tmp_path).std == (0.229, 0.224, 0.225)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 1]}))
    assert load_checkpoint(tmp_path).mean == (0.5, 0.5, 0.5)
    assert load_checkpoint(tmp_path).std == (0.5, 0.25, 1.0)
    file.write_text(json.dumps({"do_normalize": False, "image_mean": [0.5, 0.5, 0.5]}))
    assert load_checkpoint(tmp_path).std == (1.0, 1.0, 1.0)
    for bad in ([0.5], [0.5, 0.5, 0], [0.5, 0.5, math.nan], "half", [0.5, 0.5, 10**400]):
        file.write_text(json.dumps({"image_std": bad}))
        refuse(tmp_path, file, "std")
    file.write_text("{")
    refuse(tmp_path, file, "JSON")
    file.unlink()
    timm = {"architecture": "vit_tiny", "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 2, 3]}}
    save(tmp_path, tensors, config=timm)
    assert load_checkpoint(tmp_path).std == (1.0, 2.0, 3.0)


def test_all_problems_are_reported_together(tmp_path, tensors):
    del tensors["encoder.layer.0.attention.attention.key.bias"]
    del tensors["layernorm.weight"]
    tensors["surprise"] = np.zeros(3, np.float32)
    tensors["embeddings.cls_token"] = np.zeros((1, 1, 65), np.float32)
    tensors["layernorm.bias"] = np.full(64, np.nan, np.float32)
    message = refuse(
        save(tmp_path, tensors),
        tmp_path,
        "2 missing",
        "encoder.layer.0.attention.attention.key.bias",
        "1 extra (surprise)",
        "1 misshapen (embeddings.cls_token is (1, 1, 65), not (1, 1, 64))",
        "1 not finite (layernorm.bias)",
    )
    assert message.startswith(str(tmp_path / "model.safetensors"))


def test_long_lists_are_abbreviated(tmp_path, tensors):
    tensors |= {f"surprise.{i}": np.zeros(1, np.float32) for i in range(100)}
    message = refuse(save(tmp_path, tensors), "100 extra", "surprise.0", "...")
    assert message.count("surprise") == 5


def test_a_key_twice_under_two_prefixes_is_not_swallowed(tmp_path, tensors):
    tensors |= {"vit.layernorm.bias": tensors["layernorm.bias"]}
    refuse(save(tmp_path, tensors), "1 extra (vit.layernorm.bias)")


def test_integers_are_no_weights(tmp_path, tensors):
    tensors["layernorm.bias"] = np.arange(64)
    refuse(save(tmp_path, tensors), "layernorm.bias", "I64")
    refuse(save(tmp_path, tensors, "a.pth"), "layernorm.bias", "int64")


def test_overflow_to_infinity_is_reported(tmp_path, tensors):
    tensors["layernorm.bias"] = np.full(64, 1e300)
    refuse(save(tmp_path, tensors), "1 not finite (layernorm.bias)")


def test_a_table_fills_every_leaf_once(leaves):
    # The same tensors under every layout: the count of leaves is that of the skeleton.
    for tensors in (file_tensors(leaves, V5_NAMES), timm_tensors(leaves)):
        parameters, ignored = read_parameters(tensors, TINY)
        assert {key: array.shape for key, array in parameters.items()} == leaf_shapes(TINY)
        assert ignored == ()


def test_another_kind_of_model(tmp_path):
    tensors = {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}
    refuse(save(tmp_path, tensors), "conv1.weight", "facebook/dino-vits16")


def test_a_config_that_disagrees_with_the_tensors(tmp_path, tensors):
    save(tmp_path, tensors, config={**HF_CONFIG, "num_hidden_layers": 3})
    refuse(tmp_path, "16 missing", "encoder.layer.2.")
    save(tmp_path, tensors, config={**HF_CONFIG, "num_hidden_layers": 1})
    refuse(tmp_path, "16 extra", "encoder.layer.1.")
    (tmp_path / "config.json").write_text("[1]")
    refuse(tmp_path, "config.json", "object")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_truncated_files(tmp_path, tensors, name):
    path = save(tmp_path, tensors, name)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refuse(tmp_path, path)


def test_a_hostile_file_is_refused_and_not_executed(tmp_path, tensors):
    marker = tmp_path / "executed"
    tensors["bad"] = call(global_("os", "system"), f"touch {marker}")
    refuse(save(tmp_path, tensors, "pytorch_model.bin"), "os.system", "nothing was executed")
    assert not marker.exists()


def test_things_that_are_no_state_dict(tmp_path):
    refuse(save(tmp_path, {"epoch": 3}, "a.pth"), "a.pth", "epoch")
    refuse(save(tmp_path, {}, "b.pth"), "b.pth")
    refuse(save(tmp_path, np.ones(3, np.float32), "c.pth"), "c.pth", "state dict")


def test_paths_that_hold_no_checkpoint(tmp_path):
    refuse(tmp_path / "absent.pth", "no such file")
    refuse(str(tmp_path / "absent"), "no such file")
    for source in ("./absent/model", "absent/model.pth", "a/b/c", "~/absent/model", "dino", ""):
        if source:
            refuse(source, source, "no such file", "owner/name")
    refuse(tmp_path, tmp_path, "model.safetensors", "hf download")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    refuse(text, text, ".safetensors")


def test_what_exists_locally_wins_over_the_hub(tmp_path, tensors, checkpoint, monkeypatch):
    (tmp_path / "owner").mkdir()
    save(tmp_path / "owner" / "name", tensors)
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("owner/name").digest == checkpoint.digest


HUB = """
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint
for name in ("absent", "partial", "whole.name"):
    try:
        checkpoint = load_checkpoint(f"owner/{name}", revision="main")
    except SpecjaxError as error:
        print(error)
    else:
        print(checkpoint.digest, checkpoint.source, checkpoint.std[0])
"""


def test_the_hub_offline(tmp_path, tensors, checkpoint):
    # What the hub's cache holds is used: here repositories without safetensors.
    commit = "0" * 40
    for name in ("partial", "whole.name"):
        cache = tmp_path / "hub" / f"models--owner--{name}"
        snapshot = cache / "snapshots" / commit
        for folder in (cache / "refs", cache / ".no_exist" / commit, snapshot):
            folder.mkdir(parents=True)
        (cache / "refs" / "main").write_text(commit)
        save(snapshot, tensors, "pytorch_model.bin")
    (cache / ".no_exist" / commit / "preprocessor_config.json").touch()
    # In a process of its own, since the hub's library reads its settings once.
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(pathlib.Path(__file__).parents[4]),
    }
    result = subprocess.run(
        [sys.executable, "-c", HUB], env=environment, capture_output=True, text=True, check=True
    )
    absent, partial, whole = result.stdout.splitlines()
    assert "config.json of owner/absent" in absent
    assert "hf download owner/absent --local-dir DIR" in absent and "--checkpoint=DIR" in absent
    # Whether there is a preprocessor is unknown, so its values are not guessed.
    assert "preprocessor_config.json of owner/partial" in partial
    assert whole == f"{checkpoint.digest} owner/whole.name 0.229"


UNREACHABLE = """
import logging, time
logging.basicConfig()
def wait(seconds):
    print("waited", seconds)
time.sleep = wait
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint
try:
    load_checkpoint("facebook/dino-vits16")
except SpecjaxError as error:
    print(error)
print(logging.getLevelName(logging.getLogger("huggingface_hub").level))
"""


class Overloaded(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(503)

    def log_message(self, *_):
        pass


@pytest.fixture
def overloaded():
    """The address of a server that answers nothing but that it is overloaded."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run_without_hub(tmp_path, endpoint):
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(pathlib.Path(__file__).parents[4]),
    }
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_VERBOSITY", "HF_DEBUG"):
        environment.pop(name, None)
    result = subprocess.run(
        [sys.executable, "-c", UNREACHABLE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stderr == ""
    *waits, message, level = result.stdout.splitlines()
    assert level == "WARNING"
    assert "cannot get config.json of facebook/dino-vits16" in message
    assert "hf download facebook/dino-vits16 --local-dir DIR" in message
    return waits, message


def test_without_a_network_there_is_one_error_at_once(tmp_path):
    waits, message = run_without_hub(tmp_path, "http://127.0.0.1:9")
    assert waits == [] and "refused" in message


def test_an_overloaded_hub_is_asked_again_in_silence(tmp_path, overloaded):
    waits, message = run_without_hub(tmp_path, overloaded)
    assert waits and "503" in message


def test_both_formats_of_the_reference_checkpoint(shared_oracle):
    folder = shared_oracle / "checkpoint_tiny"
    whole, first, second = (
        load_checkpoint(folder / name) for name in ("", "model.safetensors", "pytorch_model.bin")
    )
    assert whole.digest == first.digest == second.digest
    assert whole.config == ViTConfig(48, 3, 3, 96, 16)

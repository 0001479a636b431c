"""A vision transformer in loops and float64, which shares no code with the package's."""

import math

import numpy as np
from flax import nnx


def cubic(distance):
    distance = abs(distance)
    if distance <= 1:
        return 1.25 * distance**3 - 2.25 * distance**2 + 1
    if distance < 2:
        return -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return 0.0


def naive_positions(embeddings, height, width, interpolation):
    side = math.isqrt(len(embeddings))
    if interpolation == "dino" and height == width == side:
        return embeddings
    extra = {"dino": 0.1, "hf": 0.0}[interpolation]
    square = embeddings.reshape(side, side, -1)
    result = np.zeros((height, width, square.shape[-1]))
    for i in range(height):
        for j in range(width):
            y = (i + 0.5) * side / (height + extra) - 0.5
            x = (j + 0.5) * side / (width + extra) - 0.5
            for r in range(math.floor(y) - 1, math.floor(y) + 3):
                for c in range(math.floor(x) - 1, math.floor(x) + 3):
                    sample = square[min(max(r, 0), side - 1), min(max(c, 0), side - 1)]
                    result[i, j] += cubic(y - r) * cubic(x - c) * sample
    return result.reshape(height * width, -1)


def naive_vit(model, patches, grid, interpolation="dino"):
    """Keys, queries, values and tokens of every block, in float64 numpy."""
    config = model.config
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    p = {".".join(map(str, path)): np.asarray(leaf[...], np.float64) for path, leaf in flat}

    def linear(x, name):
        return x @ p[f"{name}.kernel"] + p.get(f"{name}.bias", 0.0)

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps)
        return centred / deviation * p[f"{name}.scale"] + p[f"{name}.bias"]

    positions = p["position_embeddings"]
    x = linear(np.asarray(patches, np.float64), "patch_embedding")
    x = x + naive_positions(positions[1:], *grid, interpolation)
    x = np.concatenate([p["cls_token"] + positions[:1], x])
    size = config.hidden_size // config.num_heads
    erf = np.vectorize(math.erf)
    outputs = []
    for block in range(config.num_layers):
        name = f"blocks.{block}"
        normed = norm(x, f"{name}.norm1")
        q, k, v = (linear(normed, f"{name}.{part}") for part in ("query", "key", "value"))
        attended = np.zeros_like(x)
        for head in range(config.num_heads):
            part = slice(head * size, (head + 1) * size)
            weights = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            attended[:, part] = weights / weights.sum(-1, keepdims=True) @ v[:, part]
        x = x + linear(attended, f"{name}.projection")
        hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp_in")
        x = x + linear(0.5 * hidden * (1 + erf(hidden / math.sqrt(2))), f"{name}.mlp_out")
        last = block == config.num_layers - 1
        final = norm(x, "norm") if last else x
        outputs.append([k[1:], q[1:], v[1:], final[1:], final[0]])
    return outputs

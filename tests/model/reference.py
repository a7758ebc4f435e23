"""Slow reference model in NumPy float64, with a loop for each sum in the paper, independent of the package."""

import functools

import numpy as np


def normalise(x, axes, scale, bias):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * scale + bias


def layer_norm(p, x):
    return normalise(x, -1, p["scale"], p["bias"])


def group_norm(p, x, groups=32):
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    return normalise(grouped, (0, 1, 3), 1, 0).reshape(x.shape) * p["scale"] + p["bias"]


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def conv(p, image, stride=1):
    kernel = p["kernel"]
    pad = (kernel.shape[0] - stride) // 2
    image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    size = (image.shape[0] - kernel.shape[0]) // stride + 1
    out = np.zeros((size, size, kernel.shape[-1]))
    for i in range(size):
        for j in range(size):
            window = image[i * stride :, j * stride :][: kernel.shape[0], : kernel.shape[1]]
            out[i, j] = np.einsum("hwc,hwco->o", window, kernel)
    return out + p["bias"]


def patch_block(p, patch, stride):
    x = conv(p["stem"], (patch / 127.5 - 1) / 4, stride)
    y = conv(p["conv_1"], gelu(group_norm(p["norm_1"], x)))
    y = conv(p["conv_2"], gelu(group_norm(p["norm_2"], y)))
    return (x + y).reshape(-1) @ p["out"] + p["out_bias"]


@functools.cache
def sinusoid(distance, width):
    angles = [distance / 10_000 ** (2 * k / width) for k in range(width // 2)]
    return np.array([np.sin(a) for a in angles] + [np.cos(a) for a in angles])


def relative_score(p, n, q, k, distance):
    """Return ((q + u) . k + (q + v) . r_distance) of head n."""
    r = sinusoid(distance, len(p["relative"])) @ p["relative"][:, n]
    return (q + p["content_bias"][n]) @ k + (q + p["position_bias"][n]) @ r


def rope_score(p, n, q, k, distance):
    """Return q . k after rotating each pair (h, h + H/2) of q by distance * 10000^(-2h/H), as complex numbers."""
    half = len(q) // 2
    turn = np.exp(1j * distance * 10_000.0 ** -(np.arange(half) / half))
    return (((q[:half] + 1j * q[half:]) * turn) @ (k[:half] - 1j * k[half:])).real


def attention(p, x, segments):
    """Apply attention to x (T, D) of one row: softmax of score(i, j) / sqrt(H) over j <= i of the same segment."""
    return attend(p, x, causal(segments))


def causal(segments):
    """Return, for each position i of one row, the pairs (j, i - j) of the positions j <= i of the same segment."""
    positions = range(len(segments))
    return [[(j, i - j) for j in positions[: i + 1] if segments[j] == segments[i]] for i in positions]


def attend(p, x, seen):
    """Apply attention to x (T, D) of one row: softmax of score(i, j) / sqrt(H) over the (j, distance) of seen[i]."""
    length, width = x.shape
    _, heads, size = p["query"].shape
    score = relative_score if "relative" in p else rope_score
    out = np.zeros((length, width)) + p["out_bias"]
    for n in range(heads):
        q, k, v = (x @ p[name][:, n] for name in ("query", "key", "value"))
        for i in range(length):
            scores = np.array([score(p, n, q[i], k[j], distance) for j, distance in seen[i]])
            weights = np.exp((scores - scores.max()) / np.sqrt(size))
            weights /= weights.sum()
            out[i] += sum(w * v[j] for w, (j, _) in zip(weights, seen[i], strict=True)) @ p["out"][n]
    return out


def feed_forward(p, x):
    value, gate = (x @ p["hidden"][:, half] + p["hidden_bias"][half] for half in range(2))
    return (value * gelu(gate)) @ p["out"] + p["out_bias"]


def embed(p, batch, stride):
    rows, length = batch.token_ids.shape
    vectors = p["tokens"][batch.token_ids].reshape(rows * length, -1)
    for patch, slot, interval in zip(batch.patches[0], batch.patch_slots[0], batch.patch_intervals[0], strict=True):
        if slot < rows * length:
            row, column = round((interval[0] + interval[1]) / 2), round((interval[2] + interval[3]) / 2)
            vectors[slot] = patch_block(p["patch"], patch.astype(float), stride) + p["row"][row] + p["column"][column]
    return vectors.reshape(rows, length, -1) + p["local"][batch.local_position]


def gato(p, batch, stride):
    """Return final hidden vectors (B, T, D), without stochastic depth and with patch positions at their mean."""
    x = embed(p["embedding"], batch, stride)
    for b, segments in enumerate(batch.segment_ids):
        x[b] = blocks(p, x[b], causal(segments))
    return layer_norm(p["norm"], x)


def blocks(p, x, seen):
    """Apply all blocks to the embedded tokens x (T, D) of one row; `seen` is that of `attend`."""
    for number in sorted(p["blocks"]):
        block = p["blocks"][number]
        x = x + attend(block["attention"], layer_norm(block["attention_norm"], x), seen)
        x = x + feed_forward(block["feed_forward"], layer_norm(block["feed_forward_norm"], x))
    return x


def cross_entropy(p, hidden, batch, vocabulary, row_weights):
    """Return sum_b w_b sum_l m(b, l) (- log p(s_l | s_<l)) / sum_b w_b sum_l m(b, l)."""
    total = weight = 0.0
    for b, at in np.argwhere(batch.loss_mask):
        if at == 0 or batch.segment_ids[b, at - 1] != batch.segment_ids[b, at]:
            continue
        logits = p["embedding"]["tokens"][:vocabulary] @ hidden[b, at - 1]
        log_sum = np.log(np.exp(logits - logits.max()).sum()) + logits.max()
        total += row_weights[b] * (log_sum - logits[batch.target_ids[b, at]])
        weight += row_weights[b]
    return total / weight

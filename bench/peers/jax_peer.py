"""The workloads in JAX: compiled, buffers donated, optimisers from optax. See harness.py.

Weights come in the order of axes that is fastest for JAX on a CPU: matrices [in, out], images
[n, h, w, c], filters [h, w, in, out].
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import optax

import harness

EPSILON, MOMENTUM = 1e-5, 0.1


def linear(p, name, x):
    return x @ p[name + ".weight"] + p[name + ".bias"]


def convolve(x, weight, stride=1, padding="VALID"):
    if isinstance(padding, int):
        padding = [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(
        x, weight, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def layer_norm(p, name, x):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    x = (x - mean) * jax.lax.rsqrt(variance + EPSILON)
    return x * p[name + ".weight"] + p[name + ".bias"]


def block(p, name, x, heads, causal):
    n, t, width = x.shape
    y = linear(p, name + ".self_attn.in_proj", layer_norm(p, name + ".norm1", x))
    q, k, v = (
        part.reshape(n, t, heads, width // heads).transpose(0, 2, 1, 3)
        for part in jnp.split(y, 3, -1)
    )
    scores = q @ k.transpose(0, 1, 3, 2) * (width // heads) ** -0.5
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -1e30)
    y = (jax.nn.softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(n, t, width)
    x = x + linear(p, name + ".self_attn.out_proj", y)
    y = jax.nn.gelu(linear(p, name + ".linear1", layer_norm(p, name + ".norm2", x)))
    return x + linear(p, name + ".linear2", y)


# Each network: (parameters, running statistics, inputs, training) -> (outputs, new statistics)


def mlp(p, s, x, training):
    for name in "135":
        x = jax.nn.relu(linear(p, name, x))
    return linear(p, "7", x), s


def lenet(p, s, x, training):
    x = max_pool(jax.nn.relu(convolve(x, p["0.weight"], padding=2) + p["0.bias"]))
    x = max_pool(jax.nn.relu(convolve(x, p["3.weight"]) + p["3.bias"]))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(linear(p, "9", jax.nn.relu(linear(p, "7", x))))
    return linear(p, "11", x), s


def vit(p, s, x, training):
    n = x.shape[0]
    x = x.reshape(n, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(n, 16, 49)
    cls = jnp.broadcast_to(p["cls"], (n, 1, 64))
    x = jnp.concatenate([cls, linear(p, "embed", x)], 1) + p["pos"]
    for i in range(4):
        x = block(p, f"blocks.{i}", x, 4, False)
    return linear(p, "head", layer_norm(p, "norm", x[:, 0])), s


def gpt(p, s, tokens, training):
    x = p["tokens.weight"][tokens] + p["positions.weight"][None]
    for i in range(4):
        x = block(p, f"blocks.{i}", x, 4, True)
    return layer_norm(p, "norm", x) @ p["tokens.weight"].T, s


def batch_norm(p, s, new, name, x, training):
    mean, variance = s[name + ".running_mean"], s[name + ".running_var"]
    if training:
        m = x.size // x.shape[-1]
        batch_mean = x.mean((0, 1, 2))
        batch_variance = ((x - batch_mean) ** 2).mean((0, 1, 2))
        unbiased = batch_variance * (m / (m - 1))
        new[name + ".running_mean"] = (1 - MOMENTUM) * mean + MOMENTUM * batch_mean
        new[name + ".running_var"] = (1 - MOMENTUM) * variance + MOMENTUM * unbiased
        mean, variance = batch_mean, batch_variance
    x = (x - mean) * jax.lax.rsqrt(variance + EPSILON)
    return x * p[name + ".weight"] + p[name + ".bias"]


def resnet20(p, s, x, training):
    new = dict(s)
    norm = partial(batch_norm, p, s, new, training=training)
    x = jax.nn.relu(norm("1", convolve(x, p["0.weight"], padding=1)))
    for i in range(3, 12):
        name = f"{i}.0"
        stride = 2 if f"{name}.shortcut.0.weight" in p else 1
        y = convolve(x, p[name + ".body.0.weight"], stride, 1)
        y = jax.nn.relu(norm(name + ".body.1", y))
        y = norm(name + ".body.4", convolve(y, p[name + ".body.3.weight"], padding=1))
        if stride == 2:
            x = convolve(x, p[name + ".shortcut.0.weight"], 2)
            x = norm(name + ".shortcut.1", x)
        x = jax.nn.relu(x + y)
    return linear(p, "13", x.mean((1, 2))), new


NETWORKS = {"mlp": mlp, "lenet": lenet, "vit": vit, "gpt": gpt, "resnet20": resnet20}


def optimizer_of(workload):
    if workload == "resnet20":
        return optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1, momentum=0.9))
    if workload in ("vit", "gpt"):
        return optax.adamw(1e-3, weight_decay=0.01)
    return optax.adam(1e-3)


@cache
def trainer(workload):
    """Compiled once for each batch, however often a training starts anew."""
    network, optimizer = NETWORKS[workload], optimizer_of(workload)

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def train(parameters, statistics, state, x, y):
        def mean_loss(parameters):
            out, new = network(parameters, statistics, x, True)
            out = out.reshape(-1, out.shape[-1])
            return optax.softmax_cross_entropy_with_integer_labels(out, y).mean(), new

        (loss, new), gradients = jax.value_and_grad(mean_loss, has_aux=True)(parameters)
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), new, state, loss

    return train, optimizer


def prepare(options, arrays, x, y):
    parameters, statistics = harness.channels_last(options.workload, arrays)
    parameters = {name: jnp.array(a) for name, a in parameters.items()}
    statistics = {name: jnp.array(a) for name, a in statistics.items()}
    if options.workload == "mlp":
        x = x.reshape(len(x), 784)
    x = jnp.array(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)
    y = jnp.array(y.reshape(-1))
    if options.infer:
        network = NETWORKS[options.workload]
        forward = jax.jit(lambda p, s, x: network(p, s, x, False)[0])
        return lambda: forward(parameters, statistics, x).block_until_ready()
    train, optimizer = trainer(options.workload)
    state = optimizer.init(parameters)

    def step():
        nonlocal parameters, statistics, state
        parameters, statistics, state, loss = train(parameters, statistics, state, x, y)
        return loss.block_until_ready()

    return step


if __name__ == "__main__":
    harness.main(prepare, jax.__version__)

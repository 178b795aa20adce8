"""The mlp's training step in JAX: compiled, buffers donated, Adam from optax. See harness.py."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

import harness

adam = optax.adam(harness.LEARNING_RATE)


def mean_loss(parameters, x, y):
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    return optax.softmax_cross_entropy_with_integer_labels(x @ weight + bias, y).mean()


@partial(jax.jit, donate_argnums=(0, 1))
def train(parameters, state, x, y):
    loss, gradients = jax.value_and_grad(mean_loss)(parameters, x, y)
    updates, state = adam.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state, loss


def prepare(arrays, x, y):
    # JAX multiplies fastest by weights [in, out].
    parameters = [
        (jnp.array(arrays[n + ".weight"].T), jnp.array(arrays[n + ".bias"])) for n in harness.LAYERS
    ]
    state = adam.init(parameters)
    x, y = jnp.array(x), jnp.array(y)

    def step():
        nonlocal parameters, state
        parameters, state, loss = train(parameters, state, x, y)
        return loss.block_until_ready()

    return step


if __name__ == "__main__":
    harness.main(prepare, jax.__version__)

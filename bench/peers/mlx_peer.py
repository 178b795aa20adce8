"""The mlp's training step in MLX on the CPU, compiled. See harness.py."""

from functools import partial

import mlx.core as mx
from mlx import nn, optimizers

import harness

LAYERS = ("1", "3", "5", "7")


class Mlp(nn.Module):
    def __init__(self, arrays):
        super().__init__()
        self.layers = [nn.Linear(*arrays[n + ".weight"].shape[::-1]) for n in LAYERS]
        for layer, name in zip(self.layers, LAYERS):
            layer.weight, layer.bias = mx.array(arrays[name + ".weight"]), mx.array(arrays[name + ".bias"])

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nn.relu(layer(x))
        return self.layers[-1](x)


def prepare(options, arrays, x, y):
    if options.infer or options.workload != "mlp":
        raise SystemExit("mlx: has the training of the mlp only")
    mx.set_default_device(mx.cpu)
    network = Mlp(arrays)
    x, y = mx.array(x.reshape(len(x), 784)), mx.array(y.reshape(-1))
    optimizer = optimizers.Adam(1e-3, eps=1e-8, bias_correction=True)
    optimizer.init(network.trainable_parameters())
    state = [network.state, optimizer.state]
    mx.eval(state, x, y)
    loss_and_gradient = nn.value_and_grad(
        network, lambda x, y: nn.losses.cross_entropy(network(x), y, reduction="mean")
    )

    @partial(mx.compile, inputs=state, outputs=state)
    def train(x, y):
        loss, gradients = loss_and_gradient(x, y)
        optimizer.update(network, gradients)
        return loss

    def step():
        loss = train(x, y)
        mx.eval(loss, state)
        return loss.item()

    return step


if __name__ == "__main__":
    harness.main(prepare, mx.__version__)

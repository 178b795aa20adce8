"""The workloads in PyTorch, with its fused optimisers. See harness.py.

Modules have the names of Nacre's, so that one file of weights fits both. Threads are set by
OMP_NUM_THREADS, which bench/run sets. --compile: through torch.compile.
"""

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

import harness


class Attention(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (
            part.view(n, t, self.heads, width // self.heads).transpose(1, 2)
            for part in self.in_proj(x).split(width, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).reshape(n, t, width))


class Block(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = Attention(width, heads, causal)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.self_attn(self.norm1(x))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x)), approximate="tanh"))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, 64)), nn.Parameter(torch.zeros(1, 17, 64))
        self.embed, self.norm, self.head = nn.Linear(49, 64), nn.LayerNorm(64), nn.Linear(64, 10)
        self.blocks = nn.Sequential(*[Block(64, 4, False) for _ in range(4)])

    def forward(self, x):
        n = x.shape[0]
        x = x.view(n, 4, 7, 4, 7).transpose(2, 3).reshape(n, 16, 49)
        x = torch.cat([self.cls.expand(n, -1, -1), self.embed(x)], 1) + self.pos
        return self.head(self.norm(self.blocks(x)[:, 0]))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(65, 128), nn.Embedding(64, 128)
        self.blocks = nn.Sequential(*[Block(128, 4, True) for _ in range(4)])
        self.norm = nn.LayerNorm(128)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[None, : tokens.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


class Residual(nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


def convolution(channels, out, kernel, stride):
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)


def residual_block(channels, out):
    stride = 1 if channels == out else 2
    body = nn.Sequential(
        convolution(channels, out, 3, stride),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        convolution(out, out, 3, 1),
        nn.BatchNorm2d(out),
    )
    shortcut = None
    if stride != 1:
        shortcut = nn.Sequential(convolution(channels, out, 1, stride), nn.BatchNorm2d(out))
    return nn.Sequential(Residual(body, shortcut), nn.ReLU())


def resnet20():
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [residual_block(i, o) for i, o in zip(widths, widths[1:])]
    return nn.Sequential(
        convolution(3, 16, 3, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(64, 10),
    )


def mlp():
    hidden = [layer for _ in range(2) for layer in (nn.Linear(128, 128), nn.ReLU())]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), *hidden, nn.Linear(128, 10)
    )


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


NETWORKS = {"mlp": mlp, "lenet": lenet, "vit": ViT, "gpt": GPT, "resnet20": resnet20}


def optimizer_of(workload, parameters):
    if workload == "resnet20":
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)
    if workload in ("vit", "gpt"):
        return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, fused=True)
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


@cache
def compiled(workload, batch, infer):
    """Once for each batch, however often a training starts anew: prepare() puts the weights back."""
    network = NETWORKS[workload]().train(not infer)
    return network, torch.compile(network if infer else mean_loss(network), dynamic=False)


def mean_loss(network):
    def loss(x, y):
        out = network(x)
        return F.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))

    return loss


def prepare(options, arrays, x, y):
    if options.compile:
        network, forward = compiled(options.workload, len(x), options.infer)
    else:
        network = NETWORKS[options.workload]().train(not options.infer)
        forward = network if options.infer else mean_loss(network)
    network.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items() if n not in ("x", "y")})
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    if options.infer:

        def infer():
            with torch.inference_mode():
                return forward(x)

        return infer
    optimizer = optimizer_of(options.workload, network.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    harness.main(prepare, torch.__version__)

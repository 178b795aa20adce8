"""The workloads' networks as ONNX models (opset 20), written from a file of Nacre's weights."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes in order; each call adds one and returns the name of its output."""

    def __init__(self, arrays):
        self.arrays, self.nodes, self.initializers, self.known = arrays, [], [], set()

    def constant(self, name, array):
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def weight(self, name):
        return self.constant(name, self.arrays[name])

    def add(self, op, *inputs, **attributes):
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def linear(self, name, x, rank=2):
        """Gemm for matrices; MatMul with the weight transposed beforehand for more axes."""
        if rank == 2:
            return self.add("Gemm", x, self.weight(name + ".weight"), self.weight(name + ".bias"), transB=1)
        weight = self.constant(name + ".weight.T", self.arrays[name + ".weight"].T)
        return self.add("Add", self.add("MatMul", x, weight), self.weight(name + ".bias"))

    def reshape(self, x, *shape):
        name = "shape" + "_".join(map(str, shape))
        return self.add("Reshape", x, self.constant(name, np.array(shape, np.int64)))

    def norm(self, name, x):
        return self.add(
            "LayerNormalization", x, self.weight(name + ".weight"), self.weight(name + ".bias"), epsilon=1e-5
        )

    def conv(self, name, x, kernel, stride=1, padding=0):
        inputs = [x, self.weight(name + ".weight")]
        if name + ".bias" in self.arrays:
            inputs.append(self.weight(name + ".bias"))
        return self.add(
            "Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4
        )

    def batch_norm(self, name, x):
        parts = ("weight", "bias", "running_mean", "running_var")
        return self.add("BatchNormalization", x, *(self.weight(f"{name}.{p}") for p in parts), epsilon=1e-5)


def mlp(g, x, n):
    x = g.reshape(x, n, 784)
    for name in "135":
        x = g.add("Relu", g.linear(name, x))
    return g.linear("7", x)


def lenet(g, x, n):
    for name, padding in (("0", 2), ("3", 0)):
        x = g.add("Relu", g.conv(name, x, 5, padding=padding))
        x = g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = g.reshape(x, n, 400)
    return g.linear("11", g.add("Relu", g.linear("9", g.add("Relu", g.linear("7", x)))))


def block(g, name, x, n, t, width, heads, causal):
    y = g.linear(name + ".self_attn.in_proj", g.norm(name + ".norm1", x), 3)
    y = g.add("Transpose", g.reshape(y, n, t, 3, heads, width // heads), perm=[2, 0, 3, 1, 4])
    q, k, v = (
        g.add("Gather", y, g.constant(f"index{i}", np.array(i, np.int64)), axis=0) for i in range(3)
    )
    scale = g.constant("scale", np.array((width // heads) ** -0.5, np.float32))
    scores = g.add("MatMul", g.add("Mul", q, scale), g.add("Transpose", k, perm=[0, 1, 3, 2]))
    if causal:
        mask = np.triu(np.full((t, t), -1e30, np.float32), 1)
        scores = g.add("Add", scores, g.constant("mask", mask))
    y = g.add("MatMul", g.add("Softmax", scores, axis=-1), v)
    y = g.reshape(g.add("Transpose", y, perm=[0, 2, 1, 3]), n, t, width)
    x = g.add("Add", x, g.linear(name + ".self_attn.out_proj", y, 3))
    y = g.linear(name + ".linear1", g.norm(name + ".norm2", x), 3)
    return g.add("Add", x, g.linear(name + ".linear2", g.add("Gelu", y, approximate="tanh"), 3))


def vit(g, x, n):
    x = g.add("Transpose", g.reshape(x, n, 4, 7, 4, 7), perm=[0, 1, 3, 2, 4])
    x = g.linear("embed", g.reshape(x, n, 16, 49), 3)
    cls = g.constant("cls.n", np.repeat(g.arrays["cls"], n, 0))
    x = g.add("Add", g.add("Concat", cls, x, axis=1), g.weight("pos"))
    for i in range(4):
        x = block(g, f"blocks.{i}", x, n, 17, 64, 4, False)
    x = g.add("Gather", x, g.constant("index0", np.array(0, np.int64)), axis=1)
    return g.linear("head", g.norm("norm", x))


def gpt(g, tokens, n):
    x = g.add("Add", g.add("Gather", g.weight("tokens.weight"), tokens), g.weight("positions.weight"))
    for i in range(4):
        x = block(g, f"blocks.{i}", x, n, 64, 128, 4, True)
    return g.add("MatMul", g.norm("norm", x), g.constant("tokens.T", g.arrays["tokens.weight"].T))


def resnet20(g, x, n):
    x = g.add("Relu", g.batch_norm("1", g.conv("0", x, 3, padding=1)))
    for i in range(3, 12):
        name = f"{i}.0"
        stride = 2 if name + ".shortcut.0.weight" in g.arrays else 1
        y = g.conv(name + ".body.0", x, 3, stride, 1)
        y = g.add("Relu", g.batch_norm(name + ".body.1", y))
        y = g.batch_norm(name + ".body.4", g.conv(name + ".body.3", y, 3, padding=1))
        if stride == 2:
            x = g.batch_norm(name + ".shortcut.1", g.conv(name + ".shortcut.0", x, 1, 2))
        x = g.add("Relu", g.add("Add", x, y))
    return g.linear("13", g.reshape(g.add("GlobalAveragePool", x), n, 64))


NETWORKS = {"mlp": mlp, "lenet": lenet, "vit": vit, "gpt": gpt, "resnet20": resnet20}


def build(workload, arrays, x):
    """The model as bytes, for inputs of x's shape."""
    g = Graph(arrays)
    out = NETWORKS[workload](g, "x", len(x))
    kind = TensorProto.INT64 if x.dtype == np.int64 else TensorProto.FLOAT
    graph = helper.make_graph(
        g.nodes,
        workload,
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        g.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString()

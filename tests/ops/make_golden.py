#!/usr/bin/env python3
"""Writes golden.h: inputs and NumPy's results for every op, in double.

    python3 tests/ops/make_golden.py > tests/ops/golden.h

Drawn inputs are multiples of 1/64, exact in f32 and f64. Each entry names a case of cases.h by op and label.
"""

import math

import numpy as np

rng = np.random.default_rng(20)
entries = []


def values(*shape):
    return rng.integers(-128, 129, shape) / 64


def positive(*shape):
    return rng.integers(16, 129, shape) / 64


def indices(bound, *shape):
    return rng.integers(0, bound, shape).astype(float)


def golden(op, label, inputs, result):
    entries.append((op, label, [np.asarray(x, float) for x in inputs], np.asarray(result, float)))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    s = x - x.max(axis, keepdims=True)
    return s - np.log(np.exp(s).sum(axis, keepdims=True))


def views():
    x = values(3, 5)
    golden("copy", "", [x], x)
    golden("cast", "i32", [x], np.trunc(x))
    golden("cast", "i64", [x], np.trunc(x))
    golden("cast", "bool", [x], x != 0)
    y = values(2, 6)
    golden("reshape", "", [y], y.reshape(3, -1))
    z = values(2, 3, 5)
    golden("permute", "", [z], z.transpose(2, 0, 1))
    s = values(3, 7)
    golden("slice", "", [s], s[:, 1:6:2])
    t = values(4, 3)
    golden("slice", "first", [t], t[1:-1])
    u = values(3, 4)
    wide = np.zeros((3, 9))
    wide[:, 1::2] = u
    golden("unslice", "", [u], wide)
    b = values(3, 1)
    golden("broadcast_to", "", [b], np.broadcast_to(b, (2, 3, 5)))


def elementwise():
    shapes = [("", (3, 5), (3, 5)), ("row", (3, 5), (5,)), ("outer", (3, 1), (1, 33)),
              ("deep", (2, 1, 3, 1, 2), (3, 1, 4, 1))]
    functions = [("add", np.add, values, values), ("sub", np.subtract, values, values),
                 ("mul", np.multiply, values, values), ("div", np.divide, values, positive),
                 ("pow", np.power, positive, values), ("maximum", np.maximum, values, values),
                 ("minimum", np.minimum, values, values), ("equal", np.equal, values, values),
                 ("not_equal", np.not_equal, values, values), ("less", np.less, values, values),
                 ("less_equal", np.less_equal, values, values),
                 ("greater", np.greater, values, values),
                 ("greater_equal", np.greater_equal, values, values)]
    for name, function, first, second in functions:
        for label, shape_a, shape_b in shapes:
            a, b = first(*shape_a), second(*shape_b)
            golden(name, label, [a, b], function(a, b))
    x = values(3, 5)
    golden("pow", "square", [x], x ** 2)
    golden("neg", "", [x], -x)
    golden("exp", "", [x], np.exp(x))
    p = positive(3, 5)
    golden("log", "", [p], np.log(p))
    golden("sqrt", "", [p], np.sqrt(p))
    golden("relu", "", [x], np.maximum(x, 0))
    y, dy = np.maximum(values(3, 5), 0), values(3, 5)
    golden("relu_backward", "", [y, dy], np.where(y > 0, dy, 0))
    c, a, b = rng.integers(0, 2, (3, 1)), values(5), values(3, 5)
    golden("where", "rows", [c, a, b], np.where(c, a, b))


def reductions():
    functions = [("sum", np.sum), ("mean", np.mean), ("max", np.max), ("min", np.min),
                 ("argmax", np.argmax), ("argmin", np.argmin)]
    kept = {"sum": (True, False), "mean": (True, True), "max": (False, True), "min": (False, True),
            "argmax": (False, True), "argmin": (False, True)}
    for name, function in functions:
        x = values(3, 5)
        first, last = kept[name]
        golden(name, "", [x], function(x))
        if name != "mean":
            golden(name, "first", [x], function(x, axis=0, keepdims=first))
        golden(name, "last", [x], function(x, axis=-1, keepdims=last))
    x = values(3, 4, 5)
    golden("sum", "outer", [x], x.sum((0, 2)))


def products():
    for label, shape_a, shape_b in [("", (3, 4), (4, 5)), ("vectors", (7,), (7,)),
                                    ("row", (4,), (4, 3)), ("column", (3, 4), (4,)),
                                    ("batched", (2, 3, 4), (2, 4, 2)),
                                    ("broadcast", (2, 1, 3, 4), (3, 4, 2)),
                                    ("odd", (17, 31), (31, 13))]:
        a, b = values(*shape_a), values(*shape_b)
        golden("matmul", label, [a, b], a @ b)
    a, b = values(3, 4), values(5, 4)
    golden("matmul", "b transposed", [a, b], a @ b.T)
    a, b = values(4, 3), values(4, 5)
    golden("matmul", "a transposed", [a, b], a.T @ b)
    x, w, bias = values(2, 3, 4), values(5, 4), values(5)
    golden("linear", "deep", [x, w, bias], x @ w.T + bias)
    golden("linear", "no bias", [x[0], w], x[0] @ w.T)


def losses():
    for name, function in [("softmax", softmax), ("log_softmax", log_softmax)]:
        x = values(3, 5)
        golden(name, "", [x], function(x, -1))
        golden(name, "first", [x], function(x, 0))
    x, dy = values(3, 5), values(3, 5)
    y = softmax(x, -1)
    golden("softmax_backward", "", [y, dy], y * (dy - (y * dy).sum(-1, keepdims=True)))
    y = log_softmax(x, 0)
    golden("log_softmax_backward", "first", [y, dy],
           dy - np.exp(y) * dy.sum(0, keepdims=True))
    logits, target, dloss = values(4, 5), indices(5, 4), values()
    rows = np.eye(5)[target.astype(int)]
    golden("cross_entropy", "", [logits, target], -(rows * log_softmax(logits, 1)).sum() / 4)
    golden("cross_entropy_backward", "", [logits, target, dloss],
           (softmax(logits, 1) - rows) * dloss / 4)
    rows = positive(4, 5)
    golden("cross_entropy", "rows", [logits, rows], -(rows * log_softmax(logits, 1)).sum() / 4)
    golden("cross_entropy_backward", "rows", [logits, rows, dloss],
           (softmax(logits, 1) * rows.sum(1, keepdims=True) - rows) * dloss / 4)
    a, b = values(3, 5), values(3, 5)
    golden("mse", "", [a, b], ((a - b) ** 2).mean())
    table, at = values(6, 2, 2), indices(6, 2, 3)
    golden("gather", "grid", [table, at], table[at.astype(int)])
    dy, at = values(8, 3), indices(6, 8)
    out = np.zeros((6, 3))
    np.add.at(out, at.astype(int), dy)
    golden("scatter_rows", "", [dy, at], out)
    at = indices(7, 5)
    golden("one_hot", "", [at], np.eye(7)[at.astype(int)])


def windows(x, kernel, stride, padding, dilation, fill):
    """[n, c, oh, ow, kh, kw]: what lies under each tap of each window; `fill` outside."""
    pad = [(0, 0), (0, 0)] + [(p, p) for p in padding]
    x = np.pad(x, pad, constant_values=fill)
    size = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1)]
    out = np.empty(x.shape[:2] + tuple(size) + tuple(kernel))
    for i, j, p, q in np.ndindex(*size, *kernel):
        out[:, :, i, j, p, q] = x[:, :, i * stride[0] + p * dilation[0],
                                  j * stride[1] + q * dilation[1]]
    return out


def conv(x, w, stride, padding, dilation, groups):
    seen = windows(x, w.shape[2:], stride, padding, dilation, 0)
    split = zip(np.split(seen, groups, 1), np.split(w, groups, 0))
    return np.concatenate([np.einsum("ncijpq,ocpq->noij", s, f) for s, f in split], 1)


def along(f, shape, dy):
    """The gradient of a linear f at an input of this shape: dy times f of each unit vector."""
    dx = np.empty(shape)
    for at in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[at] = 1
        dx[at] = (f(unit) * dy).sum()
    return dx


def convolutions():
    for label, x_shape, w_shape, stride, padding, dilation, groups in [
            ("plain", (2, 2, 4, 3), (3, 2, 2, 2), (1, 1), (0, 0), (1, 1), 1),
            ("stride", (1, 2, 5, 6), (2, 2, 2, 3), (2, 1), (0, 0), (1, 1), 1),
            ("padding", (1, 1, 3, 4), (2, 1, 3, 3), (1, 1), (1, 2), (1, 1), 1),
            ("mixed", (1, 2, 5, 6), (4, 1, 2, 2), (2, 3), (1, 1), (2, 1), 2),
            ("depthwise", (2, 3, 3, 3), (3, 1, 2, 2), (1, 1), (0, 0), (1, 1), 3)]:
        x, w, b = values(*x_shape), values(*w_shape), values(w_shape[0])
        how = (stride, padding, dilation, groups)
        y = conv(x, w, *how)
        golden("conv2d", label, [x, w, b], y + b[:, None, None])
        dy = values(*y.shape)
        golden("conv2d_backward_input", label, [dy, w],
               along(lambda t: conv(t, w, *how), x.shape, dy))
        golden("conv2d_backward_weight", label, [x, dy],
               along(lambda t: conv(x, t, *how), w.shape, dy))
        golden("conv2d_backward_weight", label + " bias", [x, dy], dy.sum((0, 2, 3)))


def pools():
    for label, shape, kernel, stride, padding in [
            ("plain", (2, 2, 4, 4), (2, 2), (2, 2), (0, 0)),
            ("overlapping", (1, 1, 5, 6), (3, 2), (1, 1), (0, 0)),
            ("padded", (1, 2, 4, 5), (3, 2), (2, 1), (1, 1))]:
        x, z = values(*shape), values(*shape)

        def seen(t, fill):
            s = windows(t, kernel, stride, padding, (1, 1), fill)
            return s.reshape(s.shape[:4] + (-1,))

        def pick(t):
            return np.take_along_axis(seen(t, 0), seen(x, -np.inf).argmax(-1)[..., None], -1)[..., 0]

        def average(t):
            return seen(t, 0).mean(-1)

        y = seen(x, -np.inf).max(-1)
        dy = values(*y.shape)
        golden("max_pool2d", label, [x], y)
        golden("max_pool2d_pick", label, [x, z], pick(z))
        golden("max_pool2d_backward", label, [x, dy], along(pick, shape, dy))
        golden("avg_pool2d", label, [x], average(x))
        golden("avg_pool2d_backward", label, [dy], along(average, shape, dy))


def batch_norms():
    for label, shape in [("", (3, 2, 2, 2)), ("rows", (5, 3))]:
        x, w, b = values(*shape), values(shape[1]), values(shape[1])
        axes = tuple(i for i in range(len(shape)) if i != 1)

        def column(t):
            return t.reshape((-1,) + (1,) * (len(shape) - 2))

        mean, var = x.mean(axes), x.var(axes)
        scale = w / np.sqrt(var + 0.01)
        golden("batch_norm", label, [x, w, b],
               (x - column(mean)) * column(scale) + column(b))
        if label == "":
            golden("batch_norm", "mean", [x, w, b], mean)
            golden("batch_norm", "var", [x, w, b], var)
        given, dy, m = positive(shape[1]), values(*shape), x.size / shape[1]
        centre = values(shape[1])
        d, root = x - column(centre), np.sqrt(given + 0.01)
        dweight = (dy * d).sum(axes) / root
        dx = column(w / root) * (dy - column(dy.mean(axes)) - d * column(dweight / root / m))
        golden("batch_norm_backward", label, [x, w, centre, given, dy], dx)
        if label == "":
            golden("batch_norm_backward", "weight", [x, w, centre, given, dy], dweight)
            golden("batch_norm_backward", "bias", [x, w, centre, given, dy], dy.sum(axes))


def updates():
    p, g, v = values(3, 5), values(3, 5), values(3, 5)
    velocity = 0.9 * v + g + 0.01 * p
    golden("sgd_update", "", [p, g, v], p - 0.1 * velocity)
    golden("sgd_update", "velocity", [p, g, v], velocity)
    golden("sgd_update", "plain", [p, g], p - 0.1 * (g + 0.01 * p))
    p, g, m, v = values(3, 7), values(3, 7), values(3, 7), positive(3, 7)
    m1, v1 = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    m_hat, v_hat = m1 / (1 - 0.9 ** 3), v1 / (1 - 0.999 ** 3)
    golden("adam_update", "", [p, g, m, v, 3],
           p - 0.01 * 0.1 * p - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8))
    golden("adam_update", "m", [p, g, m, v, 3], m1)
    golden("adam_update", "v", [p, g, m, v, 3], v1)


def layer_norm(x, weight, bias):
    c = x - x.mean(-1, keepdims=True)
    return c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5) * weight + bias


def transformers():
    x = values(3, 5)
    erf = np.vectorize(math.erf)
    golden("tanh", "", [x], np.tanh(x))
    golden("erf", "", [x], erf(x))
    golden("gelu", "", [x], x * (1 + erf(x / np.sqrt(2))) / 2)
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)
    golden("gelu", "by tanh", [x], x * (1 + np.tanh(u)) / 2)
    dy = values(3, 5)
    bell = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    golden("gelu_backward", "", [x, dy], dy * ((1 + erf(x / np.sqrt(2))) / 2 + x * bell))
    du = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x ** 2)
    golden("gelu_backward", "by tanh", [x, dy],
           dy * ((1 + np.tanh(u)) / 2 + x * (1 - np.tanh(u) ** 2) * du / 2))
    z, weight, bias = values(2, 3, 5), values(5), values(5)
    golden("layer_norm", "deep", [z, weight, bias], layer_norm(z, weight, bias))
    golden("layer_norm", "plain", [x], layer_norm(x, 1, 0))
    z, dy, weight = values(2, 2, 5), values(2, 2, 5), values(5)
    n, d = layer_norm(z, 1, 0), dy * weight
    rstd = 1 / np.sqrt(z.var(-1, keepdims=True) + 1e-5)
    inputs = [z, dy, weight]
    golden("layer_norm_backward", "dx", inputs,
           rstd * (d - d.mean(-1, keepdims=True) - n * (d * n).mean(-1, keepdims=True)))
    golden("layer_norm_backward", "dweight", inputs, (dy * n).sum((0, 1)))
    golden("layer_norm_backward", "dbias", inputs, dy.sum((0, 1)))
    c, d = values(3, 4), values(3, 2)
    golden("concat", "", [c, d], np.concatenate([c, d], 1))


def attention(q, k, v, heads, causal, scale):
    b, t, d = q.shape
    q, k, v = [x.reshape(b, -1, heads, d // heads).transpose(0, 2, 1, 3) for x in (q, k, v)]
    s = q @ k.swapaxes(-2, -1) * scale
    if causal:
        s = np.where(np.tri(*s.shape[-2:]) > 0, s, -np.inf)
    p = softmax(s, -1)
    return q, k, v, p, (p @ v).transpose(0, 2, 1, 3).reshape(b, t, d)


def attention_backward(q, k, v, dy, heads, causal, scale):
    b, t, d = q.shape
    q, k, v, p, _ = attention(q, k, v, heads, causal, scale)
    dy = dy.reshape(b, t, heads, d // heads).transpose(0, 2, 1, 3)
    dp = dy @ v.swapaxes(-2, -1)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * scale
    parts = ds @ k, ds.swapaxes(-2, -1) @ q, p.swapaxes(-2, -1) @ dy
    return [x.transpose(0, 2, 1, 3).reshape(b, -1, d) for x in parts]


def attentions():
    q, k, v, dy = values(2, 3, 4), values(2, 5, 4), values(2, 5, 4), values(1, 3, 4)
    name = "scaled_dot_product_attention"
    golden(name, "", [q, k, v], attention(q, k, v, 2, False, 0.5 ** 0.5)[4])
    q, k, v = values(1, 4, 4), values(1, 3, 4), values(1, 3, 4)
    golden(name, "causal", [q, k, v], attention(q, k, v, 2, True, 0.5 ** 0.5)[4])
    more = values(1, 4, 4)
    golden(name + "_backward", "dk, causal", [q, k, v, more],
           attention_backward(q, k, v, more, 2, True, 0.6)[1])
    q, k, v = values(1, 3, 4), values(1, 4, 4), values(1, 4, 4)
    dq, _, dv = attention_backward(q, k, v, dy, 2, False, 0.6)
    golden(name + "_backward", "dq", [q, k, v, dy], dq)
    golden(name + "_backward", "dv", [q, k, v, dy], dv)
    qkv = values(2, 3, 6)
    golden("attention_qkv", "", [qkv],
           attention(qkv[..., :2], qkv[..., 2:4], qkv[..., 4:], 2, False, 1)[4])
    qkv = values(1, 3, 12)
    parts = attention_backward(qkv[..., :4], qkv[..., 4:8], qkv[..., 8:], dy, 2, False, 0.6)
    golden("attention_qkv_backward", "", [qkv, dy], np.concatenate(parts, -1))


def array(x):
    dims = ", ".join(map(str, x.shape)) or "0"
    numbers = ", ".join(np.format_float_scientific(v, trim="-") for v in x.ravel())
    return "{{.ndim = %d, .dims = {%s}}, (const double[]){%s}}" % (x.ndim, dims, numbers)


def write():
    print("/* NumPy's results. Made by: python3 tests/ops/make_golden.py > tests/ops/golden.h */")
    print("/* clang-format off */")
    print("static const golden_entry golden[] = {")
    for op, label, inputs, result in entries:
        print('    {"%s", "%s", {' % (op, label))
        for x in inputs:
            print("        %s," % array(x))
        print("    }, %s}," % array(result))
    print("};")


views()
elementwise()
reductions()
products()
losses()
updates()
transformers()
convolutions()
pools()
batch_norms()
attentions()
write()

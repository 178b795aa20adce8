"""Golden values for the optimiser tests: python3 tests/optim/golden.py > tests/optim/golden.h

The update rules are written out in NumPy (float64) from the papers; the one-cycle rates follow, line by
line, get_lr of torch.optim.lr_scheduler.OneCycleLR (cosine) and equal what PyTorch 2.15 gives to the last bit.
"""
import math
import numpy as np

STEPS = 6
p0 = np.array([1.0, -2.0, 0.5, 3.0])
gradients = np.array([[math.sin(1.7 * t + i) for i in range(4)] for t in range(STEPS)])


def sgd(lr, momentum=0.0, weight_decay=0.0):
    p, v, out = p0.copy(), np.zeros(4), []
    for t in range(STEPS):
        g = gradients[t] + weight_decay * p
        v = momentum * v + g
        p = p - lr * v
        out.append(p.copy())
    return np.array(out)


def adam(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
    p, m, v, out = p0.copy(), np.zeros(4), np.zeros(4), []
    for t in range(STEPS):
        g = gradients[t]
        p = p - lr * weight_decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        mh, vh = m / (1 - b1 ** (t + 1)), v / (1 - b2 ** (t + 1))
        p = p - lr * mh / (np.sqrt(vh) + eps)
        out.append(p.copy())
    return np.array(out)


def onecycle(total, max_lr, pct_start=0.3, div_factor=25.0, final_div_factor=1e4, three_phase=False):
    initial = max_lr / div_factor
    low = initial / final_div_factor
    phases = [(float(pct_start * total) - 1, initial, max_lr), (total - 1, max_lr, low)]
    if three_phase:
        phases[1:] = [(float(2 * pct_start * total) - 2, max_lr, initial), (total - 1, initial, low)]
    rates = []
    for step in range(total):
        start = 0
        for i, (end, a, b) in enumerate(phases):
            if step <= end or i == len(phases) - 1:
                pct = (step - start) / (end - start)
                rates.append(b + (a - b) / 2.0 * (math.cos(math.pi * pct) + 1))
                break
            start = end
    return np.array(rates)


def show(name, values):
    values = np.atleast_2d(values)
    print(f"static const double {name}[{values.shape[0]}][{values.shape[1]}] = {{")
    for row in values:
        print("    {" + ", ".join(f"{x:.17g}" for x in row) + "},")
    print("};")


print("/* Made by: python3 tests/optim/golden.py > tests/optim/golden.h */")
show("golden_gradients", gradients)
show("golden_sgd", sgd(0.1))
show("golden_momentum", sgd(0.1, momentum=0.9, weight_decay=0.01))
show("golden_adam", adam(0.05))
show("golden_adamw", adam(0.05, b1=0.8, b2=0.95, weight_decay=0.1))
show("golden_onecycle_20", onecycle(20, 0.004))
show("golden_onecycle_7", onecycle(7, 1.0, pct_start=0.5, div_factor=10.0, final_div_factor=100.0))
show("golden_onecycle_three", onecycle(30, 0.004, pct_start=0.2, div_factor=16.0, three_phase=True))

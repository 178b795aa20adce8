"""The mlp and LeNet's training step in TensorFlow, compiled by XLA. See harness.py."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf  # noqa: E402

import harness  # noqa: E402

LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def linear(p, name, x):
    return x @ p[name + ".weight"] + p[name + ".bias"]


def mlp(p, x):
    for name in "135":
        x = tf.nn.relu(linear(p, name, x))
    return linear(p, "7", x)


def lenet(p, x):
    for name, padding in (("0", "SAME"), ("3", "VALID")):
        x = tf.nn.conv2d(x, p[name + ".weight"], 1, padding) + p[name + ".bias"]
        x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
    x = tf.reshape(x, (x.shape[0], 400))
    for name in "79":
        x = tf.nn.relu(linear(p, name, x))
    return linear(p, "11", x)


NETWORKS = {"mlp": mlp, "lenet": lenet}


class Trainer:
    """Variables and the compiled step, which outlive a training; start() sets them back."""

    def __init__(self, network, parameters):
        self.network = network
        self.first = parameters
        self.p = {name: tf.Variable(a) for name, a in parameters.items()}
        self.m = {name: tf.Variable(tf.zeros_like(a)) for name, a in parameters.items()}
        self.v = {name: tf.Variable(tf.zeros_like(a)) for name, a in parameters.items()}
        self.steps = tf.Variable(0.0)

    def start(self):
        self.steps.assign(0.0)
        for name, a in self.first.items():
            self.p[name].assign(a)
            self.m[name].assign(tf.zeros_like(a))
            self.v[name].assign(tf.zeros_like(a))

    @tf.function(jit_compile=True)
    def step(self, x, y):
        with tf.GradientTape() as tape:
            logits = self.network(self.p, x)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradients = tape.gradient(loss, self.p)
        self.steps.assign_add(1.0)
        for name, g in gradients.items():  # Kingma and Ba 2015, algorithm 1
            m = self.m[name].assign(BETA1 * self.m[name] + (1 - BETA1) * g)
            v = self.v[name].assign(BETA2 * self.v[name] + (1 - BETA2) * g * g)
            m_hat = m / (1 - tf.pow(BETA1, self.steps))
            v_hat = v / (1 - tf.pow(BETA2, self.steps))
            self.p[name].assign_sub(LEARNING_RATE * m_hat / (tf.sqrt(v_hat) + EPSILON))
        return loss


kept = {}


def trainer_of(workload, arrays):
    if workload not in kept:
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        kept[workload] = Trainer(NETWORKS[workload], harness.channels_last(workload, arrays)[0])
    return kept[workload]


def prepare(options, arrays, x, y):
    if options.infer or options.workload not in NETWORKS:
        raise SystemExit("tensorflow: has the training of mlp and lenet only")
    trainer = trainer_of(options.workload, arrays)
    trainer.start()
    x = tf.constant(x.reshape(len(x), 784) if options.workload == "mlp" else x.transpose(0, 2, 3, 1))
    y = tf.constant(y.reshape(-1))
    return lambda: trainer.step(x, y).numpy()


if __name__ == "__main__":
    harness.main(prepare, tf.__version__)

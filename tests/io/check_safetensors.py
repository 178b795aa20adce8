"""The other side of test_safetensors.c: the safetensors package reads what Nacre wrote, and writes
what Nacre is to read.

    python check_safetensors.py read FILE     exit 1 and say why when FILE does not hold `tensors`
    python check_safetensors.py write FILE

Exit 77: the packages numpy and safetensors are not installed for this interpreter.
"""
import sys

try:
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    print(missing)
    sys.exit(77)

# The same in test_safetensors.c.
tensors = {
    "f32": np.array([[-1, -0.5, 0], [0.5, 1, np.inf]], np.float32),
    "f64": np.array([1 / 3, -0.0, 5e-324]),
    "i32": np.array([[[-2**31], [-1]], [[0], [2**31 - 1]]], np.int32),
    "i64": np.array([-2**63, 2**63 - 1], np.int64),
    "u8": np.array([0, 1, 127, 128, 255], np.uint8),
    "bool": np.array([True, False, True]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((2, 0, 3)),
    'n\u00e4me "quoted"': np.array([7], np.uint8),
}
metadata = {"made_by": "a test", "n\u00e4me": '"\\\n'}


def read(path):
    found = load_file(path)
    assert set(found) == set(tensors), f"names: {sorted(found)}"
    for name, expected in tensors.items():
        value = found[name]
        assert value.dtype == expected.dtype, f"{name}: {value.dtype}"
        assert value.shape == expected.shape, f"{name}: {value.shape}"
        assert value.tobytes() == expected.tobytes(), f"{name}: {value}"
    with safe_open(path, framework="np") as file:
        assert file.metadata() == metadata, file.metadata()


if __name__ == "__main__":
    way, path = sys.argv[1:]
    if way == "read":
        read(path)
    else:
        save_file(tensors, path, metadata=metadata)

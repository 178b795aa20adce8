#!/usr/bin/env python3
"""Writes the seeds of the JSON, safetensors, picture and tuning fuzzers: fuzz/corpus/<fuzzer>/<name>.

Run it again after a change here and commit what it wrote. Python alone, no packages.
"""
import json
import pathlib
import struct
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"


def seed(fuzzer, name, content):
    folder = CORPUS / fuzzer
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def json_seeds():
    texts = {
        "config": '{"recipe": "mnist-mlp", "epochs": 10, "lr": 4e-3, "json": true, "data": null}',
        "escapes": '["\\"\\\\\\/\\b\\f\\n\\r\\t", "\\u00e9\\ud83d\\ude00", "\u00e9\u20ac\U0001f600"]',
        "numbers": "[0, -0, 1.5, -2e10, 1E-7, 9223372036854775807, -9223372036854775808, 1e-400]",
        "nested": "[" * 64 + "]" * 64,
        "members": "{" + ",".join(f'"k{i}":{i}' for i in range(20)) + "}",
        "twice": '{"a":1,"a":2}',
    }
    for name, text in texts.items():
        seed("fuzz_json", name, text.encode())


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    every = {
        "__metadata__": {"format": "np"},
        "w": entry("F32", [2, 3], 0, 24),
        "d": entry("F64", [1], 24, 32),
        "l": entry("I64", [], 32, 40),
        "i": entry("I32", [1, 1], 40, 44),
        "u": entry("U8", [3], 44, 47),
        "b": entry("BOOL", [2], 47, 49),
        "e": entry("F32", [4, 0], 49, 49),
    }
    seed("fuzz_safetensors", "every", safetensors(every, bytes(47) + b"\0\1"))
    seed("fuzz_safetensors", "none", safetensors(b"{}      ", b""))
    seed("fuzz_safetensors", "half", safetensors({"h": entry("BF16", [2], 0, 4)}, bytes(4)))
    seed("fuzz_safetensors", "overlap",
         safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6)))
    seed("fuzz_safetensors", "overflow", safetensors({"a": entry("U8", [2**32, 2**32], 0, 0)}, b""))
    seed("fuzz_safetensors", "huge", struct.pack("<Q", 2**63) + b"{}")


def png(width, height, bits, color, rows, extra=b"", interlaced=0):
    def chunk(kind, content):
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    chunks = chunk(b"IHDR", head) + b"".join(chunk(*c) for c in extra)
    data = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def image_seeds():
    seed("fuzz_image", "plain", b"P2\n# comment\n3 2\n10\n0 1 2\n3 4 10\n")
    seed("fuzz_image", "raw", b"P5 3 2 255\n\x00\x10\x20\x30\x40\xff")
    seed("fuzz_image", "raw16", b"P5 2 1 65535\n\x00\x01\xff\xff")
    seed("fuzz_image", "grey1", png(9, 2, 1, 0, [b"\xaa\x80", b"\x55\x00"]))
    seed("fuzz_image", "grey16", png(2, 1, 16, 0, [b"\0\1\xff\xff"]))
    seed("fuzz_image", "rgb", png(2, 2, 8, 2, [b"\xff\0\0\0\xff\0", b"\0\0\xff\7\7\7"],
                                  [(b"tRNS", b"\0\7\0\7\0\7")]))
    seed("fuzz_image", "palette", png(4, 1, 2, 3, [b"\x1b"], [(b"PLTE", bytes(range(12))),
                                                              (b"tRNS", b"\0\x80")]))
    seed("fuzz_image", "rgba", png(1, 1, 8, 6, [b"\1\2\3\x80"]))
    # Adam7 of 2 x 2 pixels: passes 1, 6 and 7.
    seed("fuzz_image", "interlaced", png(2, 2, 8, 4, [b"\1\xff", b"\2\x80", b"\3\xff\4\0"],
                                         interlaced=1))


def tuning_seeds():
    head = "nacre tuning 1\ncpu fuzz\n"
    one = "avx2 1 64 128 784 1 784 1 1 784 1 turned - task 17 -\n"
    two = "neon 8 5 6 7 9 -1 0 3 2 0 straight yes before - 20\n"
    seed("fuzz_tuning", "none", (head + "end 0\n").encode())
    seed("fuzz_tuning", "two", (head + "# comment\n" + one + two + "end 2\n").encode())
    seed("fuzz_tuning", "twice", (head + one + one + "end 2\n").encode())
    seed("fuzz_tuning", "cut", (head + one).encode())


if __name__ == "__main__":
    json_seeds()
    safetensors_seeds()
    image_seeds()
    tuning_seeds()

"""Assigns units to the variants of an experiment, as specified in assign.rs, and checks vectors.

Written from the specification, with the standard library only. Usage:

    python3 assign.py vectors.json

Prints the number of cases and exits with 0 when all agree; prints each that does not and exits
with 1 otherwise.
"""

import hashlib
import json
import sys

BUCKETS = 10_000


def hash64(salt, unit):
    digest = hashlib.sha256(salt.encode() + b"\x00" + unit.encode()).digest()
    return int.from_bytes(digest[:8], "big")


def bucket(salt, unit):
    return (hash64(salt, unit) * BUCKETS) >> 64


def minus_log2(value):
    number = value + 1
    if number == 1 << 64:
        return 0
    zeros = 64 - number.bit_length()
    mantissa = number << zeros
    fraction = 0
    for _ in range(32):
        mantissa = (mantissa * mantissa) >> 63
        fraction <<= 1
        if mantissa >> 64:
            fraction += 1
            mantissa >>= 1
    return ((zeros + 1) << 32) - fraction


def draw(experiment, unit):
    best = None
    variants = sorted(experiment["variants"], key=lambda variant: variant["name"].encode())
    for variant in variants:
        weight = variant["weight"]
        if weight == 0:
            continue
        salt = f"variant:{experiment['prompt']}:{experiment['name']}:{variant['name']}"
        cost = minus_log2(hash64(salt, unit))
        if best is None or cost * best[1] < best[0] * weight:
            best = (cost, weight, variant["name"])
    return "outside: no variant" if best is None else best[2]


def assign(experiment, request, now_ms):
    running = experiment["state"] == "running"
    if not running or not experiment["start_ms"] <= now_ms < experiment["ends_ms"]:
        return "outside: not running"
    for segment in experiment["segments"]:
        if request["attributes"].get(segment["field"]) not in segment["values"]:
            return "outside: segment"
    unit = request[experiment["unit"]]
    if unit == "":
        return "outside: no unit"
    holdout = experiment["holdout"]
    if holdout and bucket("holdout:" + holdout["name"], unit) < holdout["buckets"]:
        return "outside: holdout"
    layer = experiment["layer"]
    if layer is None:
        salt = f"share:{experiment['prompt']}:{experiment['name']}"
    else:
        salt = "layer:" + layer
    share = experiment["share"]
    if not share["from"] <= bucket(salt, unit) < share["until"]:
        return "outside: share"
    return draw(experiment, unit)


def check(vectors):
    """Yields (what, expected, found) for every case."""
    for case in vectors["buckets"]:
        yield case, case["bucket"], bucket(case["salt"], case["id"])
    for case in vectors["logarithms"]:
        # 64-bit numbers are strings: JSON readers of some languages round large numbers.
        yield case, case["minus_log2"], str(minus_log2(int(case["hash"])))
    for case in vectors["cases"]:
        experiment = vectors["experiments"][case["experiment"]]
        yield case, case["expected"], assign(experiment, case, case["now_ms"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        results = list(check(json.load(file)))
    wrong = [result for result in results if result[1] != result[2]]
    for what, expected, found in wrong:
        print(f"{what}: expected {expected}, found {found}")
    print(f"{len(results)} vectors, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

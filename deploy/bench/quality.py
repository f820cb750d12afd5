"""Measures the vectors of a running node on labelled sets, in each number format.

    python quality.py --node http://127.0.0.1:8080 --sts sts-test.csv --cranfield CRAN
    python quality.py --node http://127.0.0.1:8080 --sts sts-test.csv --reference WEIGHTS

--sts is the test part of the STS Benchmark as it is distributed: tab-separated, score in column 5,
sentences in columns 6 and 7. --jsts is JSTS as JGLUE distributes it: JSON lines with sentence1,
sentence2 and label. --cranfield is a folder with cran.all.1400, cran.qry and cranqrel.
--reference encodes the same texts with sentence-transformers from the weights' folder and prints
both beside each other (install sentence-transformers and torch for that).

Similarity: Spearman correlation of the pairs' scores with people's, ties ranked by their mean.
Both texts of a pair are in the format named; binary ones are compared by Hamming distance.
Retrieval: nDCG@10, gain 4 for "a complete answer" (code 1, and -1 which marks the document that a
query was drawn from) down to 1 for "of minimum interest". The query stays in fp32, the documents
are in the format named; a document is its title, a space, its text.
What the API offers (float, base64, int8, ubinary and so on) comes from the API; float16 and
calibrated int8, which a vector store makes, are made here by its rules: a range for each component
from least to greatest over a sample of the same set, 256 steps, rounded.
"""

import argparse
import base64
import hashlib
import json
import math
import pathlib
import sys
import urllib.error
import urllib.request

import numpy

TOP = 10
CANDIDATES = 100


class Node:
    """An OpenAI-compatible embedding server."""

    def __init__(self, address, model, token):
        self.address, self.token = address.rstrip("/"), token
        self.model = model or self.get("/v1/models")["data"][0]["id"]
        self.tokens = 0
        self.version = None

    def open(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return urllib.request.urlopen(
            urllib.request.Request(self.address + path, data, headers), timeout=300
        )

    def get(self, path):
        with self.open(path) as answer:
            return json.load(answer)

    def embed(self, texts, form):
        """One row a text, in the format; None when the server does not offer it."""
        rows = []
        for start in range(0, len(texts), 64):
            some = texts[start : start + 64]
            body = {"model": self.model, "input": some, "encoding_format": form, "truncate": True}
            try:
                with self.open("/v1/embeddings", body) as answer:
                    content = json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code == 400 and start == 0:
                    return None
                sys.exit(f"the node answered {error.code}: {error.read().decode()[:500]}")
            self.tokens += content["usage"]["prompt_tokens"]
            self.version = content.get("model_version")
            items = sorted(content["data"], key=lambda item: item["index"])
            rows.extend(decoded(item["embedding"], form) for item in items)
        return numpy.stack(rows)


def decoded(value, form):
    kind = numpy.float16 if form == "float16" else numpy.float32
    if isinstance(value, str):
        return numpy.frombuffer(base64.b64decode(value), dtype=kind).astype(numpy.float32)
    kinds = {"int8": numpy.int8, "ubinary": numpy.uint8, "binary": numpy.int8}
    return numpy.array(value, dtype=kinds.get(form, numpy.float32))


def unit(rows):
    rows = rows.astype(numpy.float32)
    lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
    return rows / numpy.maximum(lengths, 1e-12)


def calibrated(rows, sample):
    """What int8 codes with a range for each component stand for."""
    low, high = sample.min(axis=0), sample.max(axis=0)
    step = numpy.where(high > low, (high - low) / 255, 1)
    return low + numpy.clip(numpy.round((rows - low) / step), 0, 255) * step


def bits(rows):
    return numpy.unpackbits(rows, axis=1) if rows.dtype == numpy.uint8 else rows > 0


def ranks(values):
    """Places from 1; equal values share the mean of theirs."""
    _, place, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    last = numpy.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[place]


def spearman(left, right):
    return float(numpy.corrcoef(ranks(left), ranks(right))[0, 1])


def read_sts(path):
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    fields = [line.split("\t") for line in lines if line.strip()]
    return [(row[5].strip(), row[6].strip(), float(row[4])) for row in fields]


def read_jsts(path):
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [(row["sentence1"], row["sentence2"], float(row["label"])) for row in rows]


def read_marked(path):
    """Records of the SMART format: .I and a number, then fields that start with .LETTER."""
    records, field = [], None
    for line in pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(".I"):
            records.append({})
            field = None
        elif len(line.strip()) == 2 and line.startswith("."):
            field = line.strip()[1]
            records[-1][field] = []
        elif field:
            records[-1][field].append(line.strip())
    return [{name: " ".join(lines).strip() for name, lines in one.items()} for one in records]


def read_cranfield(folder):
    """Documents, queries, and {query: {document: gain}} by place."""
    folder = pathlib.Path(folder)
    documents = read_marked(folder / "cran.all.1400")
    queries = [query["W"] for query in read_marked(folder / "cran.qry")]
    # Two documents are empty; a node refuses the empty text, and a space has the same tokens.
    texts = [f"{one.get('T', '')} {one.get('W', '')}".strip() or " " for one in documents]
    gains = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        words = line.split()
        # Queries are told by their order. Code 1 is the best, 4 the least. Each query has one
        # document of code -1, the one that it reads as drawn from; that counts as the best.
        if len(words) >= 3:
            gain = 4 if int(words[2]) == -1 else 5 - int(words[2])
            gains.setdefault(int(words[0]) - 1, {})[int(words[1]) - 1] = gain
    return texts, queries, gains


def ndcg(scores, gains):
    """Mean over the queries; equal scores keep the documents' order."""
    values = []
    for query, wanted in gains.items():
        order = numpy.argsort(-scores[query], kind="stable")[:TOP]
        got = sum(wanted.get(int(one), 0) / math.log2(place + 2) for place, one in enumerate(order))
        best = sorted(wanted.values(), reverse=True)[:TOP]
        values.append(got / sum(gain / math.log2(place + 2) for place, gain in enumerate(best)))
    return float(numpy.mean(values))


def pair_scores(node, left, right, reference=None):
    """{format: (score of each pair, where the format was made)}."""
    texts, count = left + right, len(left)
    found = {}

    def cosine(name, rows, origin):
        rows = unit(rows)
        found[name] = (rows[:count] * rows[count:]).sum(axis=1), origin

    def hamming(name, rows, origin):
        apart = (bits(rows)[:count] != bits(rows)[count:]).sum(axis=1)
        found[name] = -apart.astype(float), origin

    if reference is not None:
        cosine("fp32, reference", reference(texts), "sentence-transformers")
    floats = node.embed(texts, "float")
    cosine("fp32", floats, "API")
    half = node.embed(texts, "float16")
    origin = "here" if half is None else "API"
    cosine("fp16", floats.astype(numpy.float16) if half is None else half, origin)
    cosine("int8, one scale", node.embed(texts, "int8"), "API")
    cosine("int8, calibrated", calibrated(floats, floats), "here")
    hamming("binary", node.embed(texts, "ubinary"), "API")
    return found


def retrieval_scores(node, documents, queries, reference=None):
    """{format: (scores [query, document], where the format was made)}."""
    found = {}
    if reference is not None:
        rows = unit(reference(documents))
        found["fp32, reference"] = unit(reference(queries)) @ rows.T, "sentence-transformers"
    asked = unit(node.embed(queries, "float"))
    floats = node.embed(documents, "float")
    found["fp32"] = asked @ unit(floats).T, "API"
    half = node.embed(documents, "float16")
    origin = "here" if half is None else "API"
    rows = floats.astype(numpy.float16) if half is None else half
    found["fp16"] = asked @ unit(rows).T, origin
    found["int8, one scale"] = asked @ unit(node.embed(documents, "int8")).T, "API"
    found["int8, calibrated"] = asked @ unit(calibrated(floats, floats)).T, "here"
    signs = bits(node.embed(documents, "ubinary"))
    asked_signs = bits(node.embed(queries, "ubinary"))
    same = numpy.stack([(one == signs).sum(axis=1) for one in asked_signs]).astype(numpy.float32)
    found["binary, Hamming"] = same, "API"
    by_signs = asked @ (signs.astype(numpy.float32) * 2 - 1).T
    name = f"binary, top {CANDIDATES} rescored by the query in fp32"
    found[name] = rescored(same, by_signs), "API"
    name = f"binary, top {CANDIDATES} rescored by fp32 documents"
    found[name] = rescored(same, asked @ unit(floats).T), "API"
    return found


def rescored(first, second):
    """The second scores for the best candidates of the first, all others last."""
    scores = numpy.full_like(second, -numpy.inf)
    for query in range(len(first)):
        best = numpy.argsort(-first[query], kind="stable")[:CANDIDATES]
        scores[query, best] = second[query, best]
    return scores


def table(title, values, base):
    print(f"\n| {title} | score | against fp32 | made by |\n| --- | --: | --: | --- |")
    for name, (value, origin) in values.items():
        print(f"| {name} | {value:.4f} | {value - values[base][0]:+.4f} | {origin} |")


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:16]


def measure_pairs(node, title, pairs, reference):
    left, right, gold = (list(column) for column in zip(*pairs))
    scores = pair_scores(node, left, right, reference)
    gold = numpy.array(gold)
    values = {
        name: (spearman(found, gold), origin) for name, (found, origin) in scores.items()
    }
    table(f"{title}, {len(pairs)} pairs, Spearman", values, "fp32")
    return values


def measure_retrieval(node, folder, reference):
    documents, queries, gains = read_cranfield(folder)
    scores = retrieval_scores(node, documents, queries, reference)
    values = {name: (ndcg(found, gains), origin) for name, (found, origin) in scores.items()}
    title = f"Cranfield, {len(documents)} documents, {len(gains)} queries, nDCG@{TOP}"
    table(title, values, "fp32")
    return values


def load_reference(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: model.encode(texts, batch_size=32, convert_to_numpy=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--node", default="http://127.0.0.1:8080", metavar="ADDRESS")
    parser.add_argument("--model", help="the first served one without it")
    parser.add_argument("--token")
    parser.add_argument("--sts", metavar="FILE")
    parser.add_argument("--jsts", metavar="FILE")
    parser.add_argument("--cranfield", metavar="FOLDER")
    parser.add_argument("--reference", metavar="FOLDER")
    parser.add_argument("--most-apart", type=float, default=0.001, help="from the reference")
    arguments = parser.parse_args()
    if not (arguments.sts or arguments.jsts or arguments.cranfield):
        parser.error("give a labelled set: --sts, --jsts or --cranfield")
    node = Node(arguments.node, arguments.model, arguments.token)
    reference = load_reference(arguments.reference) if arguments.reference else None
    measured = []
    if arguments.sts:
        print(f"STS-B {arguments.sts}, SHA-256 {digest(arguments.sts)}…")
        pairs = read_sts(arguments.sts)
        measured.append(measure_pairs(node, "STS-B test", pairs, reference))
    if arguments.jsts:
        print(f"JSTS {arguments.jsts}, SHA-256 {digest(arguments.jsts)}…")
        pairs = read_jsts(arguments.jsts)
        measured.append(measure_pairs(node, "JSTS", pairs, reference))
    if arguments.cranfield:
        measured.append(measure_retrieval(node, arguments.cranfield, reference))
    print(f"\nmodel {node.model}, version {node.version}, {node.tokens} tokens embedded")
    if reference is None:
        return
    apart = max(
        abs(values[name][0] - values["fp32, reference"][0])
        for values in measured
        for name in ("fp32", "fp16")
    )
    print(f"fp32 and fp16 are at most {apart:.6f} from the reference")
    if apart > arguments.most_apart:
        sys.exit(f"that is more than {arguments.most_apart}")


if __name__ == "__main__":
    main()

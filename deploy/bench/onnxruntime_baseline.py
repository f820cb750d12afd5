"""A plain onnxruntime embedding server: the peer that the encoder is measured against.

    python onnxruntime_baseline.py --model FOLDER --threads 2 --serve 9100
    python onnxruntime_baseline.py --model FOLDER --threads 1 --check TEXTS.json VECTORS.f32
    python onnxruntime_baseline.py --model FOLDER --threads 1 --measure 1x16 32x32 32x128
    python onnxruntime_baseline.py --model FOLDER --export FOLDER2

FOLDER holds config.json, tokenizer.json and model.safetensors of a BERT encoder with mean
pooling and vectors of length 1. The graph is built here, in fp32 with the exact GELU, in
the shapes that onnxruntime's optimiser knows how to fuse. Each request is one run of the
model, padded to its longest text; nothing is batched over requests, nothing is cached.
--export writes a folder that Text Embeddings Inference reads, with the same graph up to the last
layer under the names it expects, and prints where onnxruntime's library is.
"""

import argparse
import json
import pathlib
import shutil
import socket
import statistics
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

OPSET = 17
IR_VERSION = 8


class Graph:
    """Nodes and weights, with names made up on the way."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def add(self, kind, *inputs, **attributes):
        self.count += 1
        output = f"{kind}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, value):
        self.count += 1
        name = f"constant_{self.count}"
        self.weights.append(numpy_helper.from_array(numpy.ascontiguousarray(value), name))
        return name

    def numbers(self, *values):
        return self.constant(numpy.array(values, dtype=numpy.int64))

    def scalar(self, value):
        return self.constant(numpy.array(value, dtype=numpy.float32))


class Bert:
    """The graph of a BERT encoder from its tensors."""

    def __init__(self, config, tensors):
        self.graph, self.config = Graph(), config
        self.tensors = {name.removeprefix("bert."): value for name, value in tensors.items()}
        self.heads = config["num_attention_heads"]
        self.size = config["hidden_size"] // self.heads

    def weight(self, name):
        return self.tensors[name].astype(numpy.float32)

    def linear(self, x, name):
        product = self.graph.add("MatMul", x, self.graph.constant(self.weight(f"{name}.weight").T))
        return self.graph.add("Add", product, self.graph.constant(self.weight(f"{name}.bias")))

    def norm(self, x, name):
        weight = self.graph.constant(self.weight(f"{name}.weight"))
        bias = self.graph.constant(self.weight(f"{name}.bias"))
        epsilon = self.config["layer_norm_eps"]
        return self.graph.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=epsilon)

    def gelu(self, x):
        graph = self.graph
        inner = graph.add("Erf", graph.add("Div", x, graph.scalar(2.0**0.5)))
        product = graph.add("Mul", x, graph.add("Add", inner, graph.scalar(1.0)))
        return graph.add("Mul", product, graph.scalar(0.5))

    def heads_of(self, x, order):
        shape = self.graph.numbers(0, 0, self.heads, self.size)
        return self.graph.add("Transpose", self.graph.add("Reshape", x, shape), perm=order)

    def attention(self, x, name, mask):
        graph = self.graph
        query = self.heads_of(self.linear(x, f"{name}.query"), [0, 2, 1, 3])
        key = self.heads_of(self.linear(x, f"{name}.key"), [0, 2, 3, 1])
        value = self.heads_of(self.linear(x, f"{name}.value"), [0, 2, 1, 3])
        scores = graph.add("Div", graph.add("MatMul", query, key), graph.scalar(self.size**0.5))
        shares = graph.add("Softmax", graph.add("Add", scores, mask), axis=-1)
        context = graph.add("Transpose", graph.add("MatMul", shares, value), perm=[0, 2, 1, 3])
        return graph.add("Reshape", context, graph.numbers(0, 0, self.heads * self.size))

    def layer(self, x, name, mask):
        graph = self.graph
        context = self.attention(x, f"{name}.attention.self", mask)
        attended = self.linear(context, f"{name}.attention.output.dense")
        x = self.norm(graph.add("Add", attended, x), f"{name}.attention.output.LayerNorm")
        wide = self.gelu(self.linear(x, f"{name}.intermediate.dense"))
        out = self.linear(wide, f"{name}.output.dense")
        return self.norm(graph.add("Add", out, x), f"{name}.output.LayerNorm")

    def embeddings(self, ids):
        graph = self.graph
        words = graph.constant(self.weight("embeddings.word_embeddings.weight"))
        table = self.weight("embeddings.position_embeddings.weight")
        table = table + self.weight("embeddings.token_type_embeddings.weight")[0]
        # The first rows of the table, as many as a text has tokens.
        length = graph.add("Shape", ids, start=1, end=2)
        first, axis = graph.numbers(0), graph.numbers(0)
        rows = graph.add("Slice", graph.constant(table), first, length, axis)
        total = graph.add("Add", graph.add("Gather", words, ids), rows)
        return self.norm(total, "embeddings.LayerNorm")

    def layers(self, mask, ids):
        """The last layer's rows, [batch, length, size], for a mask of 0 and 1."""
        graph = self.graph
        wide = graph.add("Unsqueeze", mask, graph.numbers(1))
        wide = graph.add("Unsqueeze", wide, graph.numbers(2))
        wide = graph.add("Cast", wide, to=TensorProto.FLOAT)
        padding = graph.add("Sub", graph.scalar(1.0), wide)
        mask = graph.add("Mul", padding, graph.scalar(-10000.0))
        x = self.embeddings(ids)
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{index}", mask)
        return x

    def hidden_model(self):
        """With the inputs and outputs that Text Embeddings Inference knows."""
        graph = self.graph
        rows = self.layers("attention_mask", "input_ids")
        graph.nodes.append(helper.make_node("Identity", [rows], ["last_hidden_state"], "out"))
        shape = ["batch", "length"]
        inputs = ["input_ids", "attention_mask"]
        return self.finished(inputs, "last_hidden_state", [*shape, self.width()])

    def width(self):
        return self.config["hidden_size"]

    def model(self):
        graph = self.graph
        x = self.layers("mask", "ids")
        real = graph.add("Cast", "mask", to=TensorProto.FLOAT)
        column = graph.add("Unsqueeze", real, graph.numbers(2))
        total = graph.add("ReduceSum", graph.add("Mul", x, column), graph.numbers(1), keepdims=0)
        mean = graph.add("Div", total, graph.add("ReduceSum", real, graph.numbers(1), keepdims=1))
        length = graph.add("ReduceL2", mean, axes=[1], keepdims=1)
        graph.nodes.append(helper.make_node("Div", [mean, length], ["vectors"], "vectors"))
        return self.finished(["ids", "mask"], "vectors", ["batch", self.width()])

    def finished(self, inputs, output, shape):
        info, graph = helper.make_tensor_value_info, self.graph
        inputs = [info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs]
        outputs = [info(output, TensorProto.FLOAT, shape)]
        body = helper.make_graph(graph.nodes, "bert", inputs, outputs, graph.weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model


def export(folder, target):
    """Writes the folder for Text Embeddings Inference and prints onnxruntime's library."""
    folder, target = pathlib.Path(folder), pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.suffix in (".json", ".txt"):
            shutil.copy(file, target / file.name)
    config = json.loads((folder / "config.json").read_text())
    model = Bert(config, load_file(folder / "model.safetensors")).hidden_model()
    (target / "model.onnx").write_bytes(model.SerializeToString())
    capi = pathlib.Path(onnxruntime.__file__).parent / "capi"
    print(next(iter(sorted(capi.glob("libonnxruntime.so*"))), ""))


class Encoder:
    def __init__(self, folder, threads):
        folder = pathlib.Path(folder)
        config = json.loads((folder / "config.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        model = Bert(config, load_file(folder / "model.safetensors")).model()
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        limits = folder / "sentence_bert_config.json"
        limit = json.loads(limits.read_text())["max_seq_length"] if limits.exists() else 512
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(limit)
        self.tokenizer.enable_padding()

    def run(self, ids, mask):
        return self.session.run(["vectors"], {"ids": ids, "mask": mask})[0]

    def encode(self, texts):
        """Vectors of the texts, and how many tokens these were."""
        found = self.tokenizer.encode_batch(texts)
        ids = numpy.array([one.ids for one in found], dtype=numpy.int64)
        mask = numpy.array([one.attention_mask for one in found], dtype=numpy.int64)
        return self.run(ids, mask), int(mask.sum())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    encoder = None

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/embeddings":
            return self.answer(404, {"error": {"message": "only /v1/embeddings is served"}})
        try:
            request = json.loads(body)
            texts = request["input"]
            texts = [texts] if isinstance(texts, str) else texts
            if not texts or not all(isinstance(text, str) for text in texts):
                raise ValueError("input must be a text or a list of texts")
        except (ValueError, KeyError, TypeError) as error:
            return self.answer(400, {"error": {"message": str(error)}})
        vectors, tokens = self.encoder.encode(texts)
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors.tolist())
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        model = request.get("model")
        self.answer(200, {"object": "list", "model": model, "data": data, "usage": usage})

    def answer(self, status, content):
        body = json.dumps(content, separators=(",", ":")).encode()
        # One write for head and body, so that they travel in one packet where they fit.
        head = f"HTTP/1.1 {status} {self.responses[status][0]}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def check(encoder, texts, vectors):
    texts = json.loads(pathlib.Path(texts).read_text())
    expected = numpy.fromfile(vectors, dtype="<f4").reshape(len(texts), -1)
    alone = numpy.concatenate([encoder.encode([text])[0] for text in texts])
    together, _ = encoder.encode(texts)
    print(f"max abs diff, one by one: {numpy.abs(alone - expected).max():.3g}")
    print(f"max abs diff, one batch:  {numpy.abs(together - expected).max():.3g}")


def measure(encoder, shape, seconds):
    batch, length = map(int, shape.split("x"))
    ids = 1000 + (numpy.arange(batch * length, dtype=numpy.int64) * 7919) % 20000
    ids = ids.reshape(batch, length)
    mask = numpy.ones_like(ids)
    encoder.run(ids, mask)
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        encoder.run(ids, mask)
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    rate = batch * length / median
    print(f"onnxruntime {shape}: median {median * 1e3:.2f} ms, {rate:.0f} tokens/s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1)
    work = parser.add_mutually_exclusive_group(required=True)
    work.add_argument("--serve", type=int, metavar="PORT", help="listen on 127.0.0.1")
    work.add_argument("--check", nargs=2, metavar=("TEXTS", "VECTORS"))
    work.add_argument("--export", metavar="FOLDER", help="for Text Embeddings Inference")
    work.add_argument("--measure", nargs="+", metavar="BATCHxTOKENS")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    arguments = parser.parse_args()
    if arguments.export:
        return export(arguments.model, arguments.export)
    encoder = Encoder(arguments.model, arguments.threads)
    if arguments.check:
        check(encoder, *arguments.check)
    elif arguments.measure:
        for shape in arguments.measure:
            measure(encoder, shape, arguments.seconds)
    else:
        Handler.encoder = encoder
        server = Server(("127.0.0.1", arguments.serve), Handler)
        print(f"listening on http://127.0.0.1:{server.server_address[1]}/v1/embeddings", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

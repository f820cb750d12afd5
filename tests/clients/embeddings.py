"""Talks to a node through the official openai SDK and prints one JSON line per row.

HEADWATER_URL, HEADWATER_TOKEN and HEADWATER_OTHER_TOKEN come from the environment; the
arguments are the model, a JSON file of texts and the reference vectors of these texts as
little-endian f32. A row that does not hold says why in its line; the caller judges.
"""

import array
import http.client
import json
import math
import os
import sys
from urllib.parse import urlparse

import openai

URL = os.environ["HEADWATER_URL"]
TOKEN = os.environ["HEADWATER_TOKEN"]
DIMENSIONS = 384
MAX_TOKENS = 256


def client(token):
    return openai.OpenAI(base_url=URL + "/v1", api_key=token, max_retries=0, timeout=300)


def embed(token, **request):
    """The SDK's answer, with the bodies that went over the wire."""
    raw_answer = client(token).embeddings.with_raw_response.create(**request)
    asked = json.loads(raw_answer.http_request.content)
    return raw_answer.parse(), asked, json.loads(raw_answer.text)


def expect(held, said):
    if not held:
        raise AssertionError(said)


def compare(texts, answer, reference):
    """Order, shape, cosine of at least 0.9999 and no number further off than 1e-4."""
    expect(len(answer.data) == len(texts), f"{len(answer.data)} vectors")
    largest = 0.0
    for index, (text, item) in enumerate(zip(texts, answer.data)):
        found, expected = item.embedding, reference[text]
        expect(item.index == index, f"index {item.index} at place {index}")
        expect(len(found) == DIMENSIONS, f"{len(found)} numbers")
        lengths = math.sqrt(sum(a * a for a in found) * sum(b * b for b in expected))
        cosine = sum(a * b for a, b in zip(found, expected)) / lengths
        largest = max(largest, *(abs(a - b) for a, b in zip(found, expected)))
        expect(cosine >= 0.9999, f"cosine {cosine} for {text[:40]!r}")
    expect(largest <= 1e-4, f"off by {largest}")
    return f"largest difference {largest:.1e}"


def hundred(model, texts, reference):
    """100 texts, none too long, over the SDK's own choice of encoding: base64."""
    short = [text for text in texts if text and len(text) <= 150]
    asked = (short + short)[:100]
    expect(len(asked) == 100, f"only {len(asked)} texts")
    answer, request, told = embed(TOKEN, model=model, input=asked)
    expect(request["encoding_format"] == "base64", "the SDK did not ask for base64")
    sent = told["data"][0]["embedding"]
    expect(isinstance(sent, str), "the node did not answer in base64")
    expect(answer.model == model, answer.model)
    # Every text has a first and a last token, and most have more between them.
    expect(answer.usage.prompt_tokens > 3 * len(asked), f"{answer.usage}")
    expect(answer.usage.total_tokens == answer.usage.prompt_tokens, f"{answer.usage}")
    return compare(asked, answer, reference)


def floats(model, texts, reference):
    """The same vectors as lists of numbers, and the exact usage of a known text."""
    asked = "hello world"
    answer, _, told = embed(TOKEN, model=model, input=asked, encoding_format="float")
    expect(isinstance(told["data"][0]["embedding"], list), "no list of numbers")
    expect(answer.usage.prompt_tokens == 4, f"{answer.usage}: [CLS] hello world [SEP] is 4")
    return compare([asked], answer, reference)


def truncated(model, texts, reference):
    """Every text that is not empty, the long ones cut where sentence-transformers cuts."""
    texts = [text for text in texts if text]
    answer, _, told = embed(TOKEN, model=model, input=texts, extra_body={"truncate": True})
    cut = [item["index"] for item in told["data"] if item.get("truncated")]
    expect(cut and all(len(texts[place]) > MAX_TOKENS for place in cut), f"cut: {cut}")
    return f"{len(cut)} cut, " + compare(texts, answer, reference)


def check_error(status, body, expected, code, mentions):
    expect(status == expected, f"status {status}: {str(body)[:200]}")
    expect(isinstance(body, dict) and set(body) == {"error"}, f"body {body}")
    error = body["error"]
    expect(set(error) == {"message", "type", "param", "code"}, f"keys {sorted(error)}")
    expect(isinstance(error["message"], str) and error["message"], "no message")
    expect(isinstance(error["type"], str) and error["type"], "no type")
    expect(error["param"] is None or isinstance(error["param"], str), f"{error['param']!r}")
    expect(error["code"] == code, f"code {error['code']}")
    expect(mentions in error["message"], f"message {error['message']!r}")
    return error["message"][:120]


def refused(token, model, given, kind, status, code, mentions):
    def row():
        try:
            client(token).embeddings.create(model=model, input=given())
        except openai.APIStatusError as error:
            expect(type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}")
            return check_error(error.status_code, error.response.json(), status, code, mentions)
        raise AssertionError("the request was served")

    return row


def raw(body, status, code, mentions):
    """A body that the SDK cannot send."""

    def row():
        address = urlparse(URL)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=300)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/embeddings", body, headers)
        response = connection.getresponse()
        return check_error(response.status, json.load(response), status, code, mentions)

    return row


def rows(model, texts, reference):
    other = os.environ["HEADWATER_OTHER_TOKEN"]
    wrong = TOKEN[:-8] + "AAAAAAAA"
    bad = openai.BadRequestError
    yield "hundred", lambda: hundred(model, texts, reference)
    yield "floats", lambda: floats(model, texts, reference)
    yield "truncated", lambda: truncated(model, texts, reference)
    table = [
        ("wrong key", wrong, model, lambda: "hi", openai.AuthenticationError, 401,
         "invalid_api_key", "signature"),
        ("no token at all", "word", model, lambda: "hi", openai.AuthenticationError, 401,
         "invalid_api_key", "not a headwater token"),
        ("token for another model", other, model, lambda: "hi", openai.PermissionDeniedError, 403,
         "model_not_allowed", model),
        ("wrong model", TOKEN, "no-such-model", lambda: "hi", openai.NotFoundError, 404,
         "model_not_found", "no-such-model"),
        ("too long", TOKEN, model, lambda: ["hi", "word " * 300], bad, 400,
         "input_too_long", str(MAX_TOKENS)),
        ("empty list", TOKEN, model, lambda: [], bad, 400, "empty_input", "at least one"),
        ("empty text", TOKEN, model, lambda: ["hi", ""], bad, 400, "empty_input", "input[1]"),
        ("body of 50 MB", TOKEN, model, lambda: "x" * 50_000_000, openai.APIStatusError, 413,
         "body_too_large", "bytes"),
        ("huge batch", TOKEN, model, lambda: ["hi"] * 2049, bad, 400,
         "too_many_inputs", "2048"),
    ]
    for name, *row in table:
        yield name, refused(*row)
    invalid = b'{"model": "' + model.encode() + b'", "input": "\xff\xfe"}'
    yield "invalid UTF-8", raw(invalid, 400, "invalid_body", "UTF-8")
    yield "malformed JSON", raw(invalid[:20], 400, "invalid_body", "JSON")


def main():
    model, texts_file, vectors_file = sys.argv[1:]
    with open(texts_file, encoding="utf-8") as file:
        texts = json.load(file)
    with open(vectors_file, "rb") as file:
        numbers = array.array("f", file.read())
    if sys.byteorder == "big":
        numbers.byteswap()
    starts = range(0, len(numbers), DIMENSIONS)
    vectors = [numbers[start : start + DIMENSIONS] for start in starts]
    reference = dict(zip(texts, vectors, strict=True))
    for name, row in rows(model, texts, reference):
        try:
            line = {"row": name, "ok": True, "says": row()}
        except Exception as error:  # Every failure becomes a line; the caller judges it.
            line = {"row": name, "ok": False, "says": f"{type(error).__name__}: {error}"}
        print(json.dumps(line), flush=True)


main()

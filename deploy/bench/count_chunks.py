"""Counts chunks and duplicates by rules of its own, beside what the ingest pipeline says.

    python count_chunks.py --chunks CHUNKS.jsonl
    python count_chunks.py --corpus CORPUS.jsonl --spans SPANS.jsonl
    python count_chunks.py --chunks CHUNKS.jsonl --expect-distinct 79012 --stored IDS.txt

A chunk's id is the SHA-256, in hex, of its text: normalised to NFC, line ends as one line feed,
white space cut at both ends. CHUNKS holds {"text": ...} a line, with "id" or "chunk" where the
pipeline gave one. SPANS holds {"document": ID, "start": N, "end": N} a line, places in the
document's text, in characters or with --bytes in bytes of UTF-8. --stored names a file of the
ids that a vector store holds, one a line: what is missing, too much or there twice is counted.
Ends with 1 when a given id is wrong, the store differs, or an expected count is not met.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import sys
import unicodedata


def chunk_id(text):
    text = unicodedata.normalize("NFC", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    return hashlib.sha256(text.encode()).hexdigest()


def lines(path):
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except ValueError as error:
                sys.exit(f"{path} line {number} is not JSON: {error}")


def from_chunks(path):
    """(text, given id) of a dump of chunks."""
    for number, line in lines(path):
        if not isinstance(line.get("text"), str):
            sys.exit(f'{path} line {number} has no "text"')
        yield line["text"], line.get("id") or line.get("chunk")


def from_spans(corpus, spans, in_bytes):
    """(text, given id) of chunks that are told by their place in a document."""
    texts = {str(line["id"]): line["text"] for _, line in lines(corpus)}
    for number, line in lines(spans):
        document, start, end = str(line["document"]), line["start"], line["end"]
        if document not in texts:
            sys.exit(f"{spans} line {number}: no document {document!r} in the corpus")
        text = texts[document]
        if in_bytes:
            yield text.encode()[start:end].decode(), line.get("id") or line.get("chunk")
        else:
            yield text[start:end], line.get("id") or line.get("chunk")


def compare(counts, path):
    """Prints how the store's ids differ from the chunks'; whether they do."""
    stored = collections.Counter(pathlib.Path(path).read_text().split())
    missing, extra = set(counts) - set(stored), set(stored) - set(counts)
    twice = sum(count > 1 for count in stored.values())
    print(f"stored      {sum(stored.values())}")
    print(f"missing     {len(missing)}")
    print(f"too many    {len(extra)}")
    print(f"twice       {twice}")
    for label, some in (("missing", missing), ("too many", extra)):
        for one in sorted(some)[:3]:
            print(f"  {label}: {one}")
    return bool(missing or extra or twice)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", metavar="FILE")
    parser.add_argument("--corpus", metavar="FILE")
    parser.add_argument("--spans", metavar="FILE")
    parser.add_argument("--bytes", action="store_true", help="spans count bytes, not characters")
    parser.add_argument("--stored", metavar="FILE")
    parser.add_argument("--expect-total", type=int)
    parser.add_argument("--expect-distinct", type=int)
    arguments = parser.parse_args()
    if bool(arguments.chunks) == bool(arguments.corpus and arguments.spans):
        parser.error("give either --chunks, or --corpus with --spans")
    if arguments.chunks:
        found = from_chunks(arguments.chunks)
    else:
        found = from_spans(arguments.corpus, arguments.spans, arguments.bytes)
    counts, wrong = collections.Counter(), 0
    for text, given in found:
        computed = chunk_id(text)
        counts[computed] += 1
        # Given ids may carry more than the digest, as the document's or the model's.
        if given is not None and computed not in str(given).lower():
            wrong += 1
            if wrong <= 3:
                print(f"wrong id: given {given}, computed {computed}")
    total, distinct = sum(counts.values()), len(counts)
    print(f"chunks      {total}")
    print(f"distinct    {distinct}")
    print(f"duplicates  {total - distinct}")
    print(f"wrong ids   {wrong}")
    failed = wrong > 0
    if arguments.stored:
        failed |= compare(counts, arguments.stored)
    expected = [("total", arguments.expect_total, total)]
    expected.append(("distinct", arguments.expect_distinct, distinct))
    for name, wanted, got in expected:
        if wanted is not None and wanted != got:
            print(f"{name} should be {wanted}: differs by {got - wanted}")
            failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

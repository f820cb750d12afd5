"""Makes a corpus of real text from Debian's documentation packages: one JSON line a document.

    python fetch_corpus.py --folder CORPUS
    python fetch_corpus.py --folder CORPUS --tokenizer FOLDER/tokenizer.json --window 256

Packages are fetched by name with apt-get (run `apt-get update` once before) and unpacked with
dpkg-deb; what is there already is not fetched again. HTML pages and manual pages become plain
text; scripts, indexes and navigation are left out. The same packages give the same bytes: documents
are sorted by id, and the last lines print the counts and the SHA-256 of what was written.
With --tokenizer (and the `tokenizers` package) it also says how many windows of tokens that is.
"""

import argparse
import gzip
import hashlib
import html.parser
import io
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import unicodedata

# Name, and the language of its text. A name without a version is resolved to the package that
# it depends on.
PACKAGES = [
    ("anarchism", "en"),
    ("debian-faq-ja", "ja"),
    ("debian-reference-en", "en"),
    ("debian-reference-ja", "ja"),
    ("developers-reference-ja", "ja"),
    ("git-doc", "en"),
    ("linux-doc", "en"),
    ("manpages", "en"),
    ("manpages-dev", "en"),
    ("manpages-ja", "ja"),
    ("postgresql-doc", "en"),
    ("python3-doc", "en"),
]
VERSIONED = re.compile(r"^(linux-doc-\d|python3\.\d+-doc|postgresql-doc-\d)")
MANUAL = re.compile(r"/man/.*\.\d[a-z]*\.gz$")
INDEX = re.compile(r"/(genindex|search|py-modindex|bookindex|modindex)[^/]*\.html$")
SHORTEST_CHARACTERS = 200

BLOCKS = {
    *("p", "div", "li", "dt", "dd", "pre", "tr", "table", "ul", "ol", "dl", "section", "article"),
    *("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "br", "hr", "title"),
}
LEFT_OUT = {"script", "style", "nav", "footer", "head", "svg", "button", "form"}
NAVIGATION = re.compile(r"sphinxsidebar|related|navheader|navfooter|headerlink|footer|toc\b")
VOID = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"),
    *("track", "wbr"),
}


class Page(html.parser.HTMLParser):
    """Collects the text of one HTML page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts, self.hidden, self.preformatted = [], [], 0

    def handle_starttag(self, tag, attributes):
        if tag in VOID:
            if tag in BLOCKS:
                self.parts.append("\n")
            return
        marks = " ".join(value or "" for name, value in attributes if name in ("class", "id"))
        if self.hidden or tag in LEFT_OUT or NAVIGATION.search(marks):
            self.hidden.append(tag)
            return
        self.preformatted += tag == "pre"
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        if self.hidden:
            # Tags that were never closed end with the one around them.
            if tag in self.hidden:
                while self.hidden.pop() != tag:
                    pass
            return
        self.preformatted -= tag == "pre" and self.preformatted > 0
        if tag in BLOCKS:
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data if self.preformatted else re.sub(r"\s+", " ", data))


def page_text(content):
    page = Page()
    page.feed(content)
    page.close()
    return "".join(page.parts)


ESCAPES = [
    (re.compile(r"\\\".*$", re.M), ""),
    (re.compile(r"\\f(\[[^]]*\]|\(..|.)"), ""),
    (re.compile(r"\\s[-+]?\d"), ""),
    (re.compile(r"\\\((em|en|hy|mi)"), "-"),
    (re.compile(r"\\\((aq|cq|oq)"), "'"),
    (re.compile(r"\\\((lq|rq|dq)"), '"'),
    (re.compile(r"\\\[[^]]*\]|\\\(..|\\\*\(..|\\\*."), ""),
    (re.compile(r"\\[&|^/,%c:]"), ""),
    (re.compile(r"\\-"), "-"),
    (re.compile(r"\\[~ ]"), " "),
    (re.compile(r"\\e"), r"\\"),
]
HEADINGS = {".SH", ".SS", ".Sh", ".Ss", ".TH", ".Dt"}
BREAKS = {".PP", ".P", ".LP", ".TP", ".IP", ".HP", ".br", ".sp", ".Pp", ".It"}
DROPPED = {
    *(".de", ".ds", ".nr", ".if", ".ie", ".el", ".ft", ".in", ".nh", ".ad", ".so", ".TS", ".TE"),
}


def manual_text(content):
    """The words of a manual page: macros go, their arguments stay."""
    lines = []
    for line in content.splitlines():
        name, _, rest = line.partition(" ")
        if line.startswith(("'\\\"", ".\\\"", '."')) or name in DROPPED:
            continue
        if name in HEADINGS:
            lines.append("\n\n" + rest.replace('"', "") + "\n\n")
        elif name in BREAKS:
            lines.append("\n")
        elif line.startswith((".", "'")):
            lines.append(rest.replace('"', "") + " ")
        elif not line.strip():
            lines.append("\n")
        else:
            lines.append(line + " ")
    text = "".join(lines)
    for pattern, instead in ESCAPES:
        text = pattern.sub(instead, text)
    return text


def tidied(text):
    """Normalised as a chunk is, with no run of more than one empty line."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\xa0", " "))
    text = re.sub(r"[ \t]+\n", "\n", text)
    text = re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", text)
    return "".join(mark for mark in text if mark in "\n\t" or mark.isprintable()).strip()


def resolved(name):
    """The package that carries the text of this one."""
    command = ["apt-cache", "depends", "--no-recommends", "--no-suggests", name]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in found.splitlines():
        wanted = line.strip().removeprefix("Depends: ")
        if VERSIONED.match(wanted):
            return wanted
    return name


def fetched(name, folder):
    """The package's file, from the folder or else from apt-get."""
    there = sorted(folder.glob(f"{name}_*.deb"))
    if there:
        return there[-1]
    command = ["apt-get", "download", "-qq", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    there = sorted(folder.glob(f"{name}_*.deb"))
    if not there:
        reason = done.stderr.strip() or "apt-get fetched nothing"
        advice = "run `apt-get update`, or leave it out with --packages"
        sys.exit(f"cannot fetch {name}: {reason}; {advice}")
    return there[-1]


def documents(package, language, file):
    """The documents of one package, by their paths."""
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(file)], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(tar.stdout)) as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if not member.isfile() or INDEX.search(path):
                continue
            if path.endswith((".html", ".html.gz")):
                turn = page_text
            elif MANUAL.search(path):
                turn = manual_text
            else:
                continue
            content = archive.extractfile(member).read()
            content = gzip.decompress(content) if path.endswith(".gz") else content
            text = tidied(turn(content.decode("utf-8", errors="replace")))
            if len(text) >= SHORTEST_CHARACTERS:
                fields = {"package": package, "language": language, "path": path}
                yield {"id": f"{package}/{path}", "text": text, "fields": fields}


def sample(found, characters):
    """Documents in the order of their ids' digests until they have that many characters."""
    found.sort(key=lambda document: hashlib.sha256(document["id"].encode()).digest())
    total = 0
    for index, document in enumerate(found):
        total += len(document["text"])
        if total >= characters:
            return found[: index + 1]
    return found


def window_counts(found, file, window, overlap_percent):
    """Tokens of all documents, and windows of them when each shares a part with the next."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    inner = window - 2
    step = inner - inner * overlap_percent // 100
    tokens = windows = 0
    for start in range(0, len(found), 256):
        texts = [document["text"] for document in found[start : start + 256]]
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            tokens += len(encoding.ids)
            windows += 1 + max(0, -(-(len(encoding.ids) - inner) // step))
    return tokens, windows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument(
        "--packages", nargs="+", metavar="NAME=LANGUAGE", help="instead of the list"
    )
    parser.add_argument(
        "--characters", type=int, help="a sample of this size at least, spread over all packages"
    )
    parser.add_argument("--tokenizer", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--window", type=int, default=256, help="tokens, 2 special ones counted")
    parser.add_argument("--overlap", type=int, default=10, help="percent of a window")
    arguments = parser.parse_args()
    if not 16 <= arguments.window <= 8192:
        parser.error("--window must be 16 to 8192 tokens")
    if not 0 <= arguments.overlap <= 50:
        parser.error("--overlap must be 0 to 50 percent")
    wanted = PACKAGES
    if arguments.packages:
        wanted = [tuple((name + "=en").split("=")[:2]) for name in arguments.packages]
    debs = arguments.folder / "packages"
    debs.mkdir(parents=True, exist_ok=True)
    found = []
    for name, language in wanted:
        package = resolved(name)
        file = fetched(package, debs)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        some = list(documents(name, language, file))
        characters = sum(len(document["text"]) for document in some)
        print(f"{file.name} {digest}: {len(some)} documents, {characters} characters", flush=True)
        found.extend(some)
    if arguments.characters:
        found = sample(found, arguments.characters)
    found.sort(key=lambda document: document["id"])
    lines = (json.dumps(document, ensure_ascii=False, sort_keys=True) + "\n" for document in found)
    body = "".join(lines).encode()
    (arguments.folder / "corpus.jsonl").write_bytes(body)
    characters = sum(len(document["text"]) for document in found)
    japanese = sum(document["fields"]["language"] == "ja" for document in found)
    print(f"documents   {len(found)} ({japanese} Japanese)")
    print(f"characters  {characters}")
    if arguments.tokenizer:
        window, overlap = arguments.window, arguments.overlap
        tokens, windows = window_counts(found, arguments.tokenizer, window, overlap)
        print(f"tokens      {tokens}")
        print(f"windows     {windows} of {window} tokens, {overlap} % overlap")
    print(f"sha-256     {hashlib.sha256(body).hexdigest()}  {arguments.folder / 'corpus.jsonl'}")


if __name__ == "__main__":
    main()

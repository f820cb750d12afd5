"""A chat over HTTP/1.1, HTTP/2 and HTTP/3 with clients of other makers: httpx and aioquic.

Usage: https.py make FOLDER            writes authority.pem, chain.pem and key.pem for localhost
       https.py ask PORT AUTHORITY MODEL    prints one JSON object a line
"""

import asyncio
import datetime
import ipaddress
import json
import pathlib
import ssl
import sys
import time

import httpx
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamReset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PATIENCE_S = 60


def make(folder):
    """An authority, and the certificate of a node on this machine."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def signed(name, issuer, key, issuer_key, extensions):
        builder = x509.CertificateBuilder(
            issuer_name=issuer,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def named(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = named("trial authority")
    root = signed(
        authority, authority, authority_key, authority_key, [x509.BasicConstraints(True, None)]
    )
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    own = signed(
        named("node"), authority, key, authority_key, [x509.SubjectAlternativeName(here)]
    )
    pem = serialization.Encoding.PEM
    folder = pathlib.Path(folder)
    (folder / "authority.pem").write_bytes(root.public_bytes(pem))
    (folder / "chain.pem").write_bytes(own.public_bytes(pem) + root.public_bytes(pem))
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)


def told(row, **fields):
    print(json.dumps({"row": row, **fields}), flush=True)


class Http3(QuicConnectionProtocol):
    """As much of a client as the rows need."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.http = H3Connection(self._quic)
        self.answers = {}

    def ask(self, method, path, body=b""):
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = asyncio.Queue()
        head = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path.encode()),
            (b"content-type", b"application/json"),
        ]
        self.http.send_headers(stream, head, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        return stream

    def leave(self, stream):
        self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.transmit()

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            self.answers[event.stream_id].put_nowait(None)
        for heard in self.http.handle_event(event):
            if isinstance(heard, (HeadersReceived, DataReceived)):
                self.answers[heard.stream_id].put_nowait(heard)

    async def hear(self, stream):
        """The fields and the parts of an answer, each with its time in s."""
        fields, parts = {}, []
        while True:
            heard = await asyncio.wait_for(self.answers[stream].get(), PATIENCE_S)
            if heard is None:
                return fields, parts, False
            if isinstance(heard, HeadersReceived):
                fields = {name.decode(): value.decode() for name, value in heard.headers}
            elif heard.data:
                parts.append((time.monotonic(), heard.data))
            if heard.stream_ended:
                return fields, parts, True


def chat(model, stream):
    # The upstream takes its time between the words of a stream.
    content = "fault:slow-tokens" if stream else "hello"
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "messages": messages, "stream": stream}).encode()


async def over_http3(port, authority, model):
    settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
    settings.load_verify_locations(authority)
    async with connect("127.0.0.1", port, configuration=settings, create_protocol=Http3) as client:
        fields, parts, ended = await client.hear(client.ask("GET", "/v1/models"))
        listed = json.loads(b"".join(data for _, data in parts))
        names = [one["id"] for one in listed["data"]]
        told("http3 models", status=fields[":status"], whole=ended, served=model in names)
        path = "/v1/chat/completions"
        fields, parts, ended = await client.hear(client.ask("POST", path, chat(model, False)))
        answer = json.loads(b"".join(data for _, data in parts))
        said = answer["choices"][0]["message"]["content"]
        told("http3 whole", status=fields[":status"], whole=ended, said=said)
        fields, parts, ended = await client.hear(client.ask("POST", path, chat(model, True)))
        spread_ms = (parts[-1][0] - parts[0][0]) * 1000
        last = b"".join(data for _, data in parts).strip().endswith(b"data: [DONE]")
        kind = fields["content-type"]
        told("http3 stream", kind=kind, whole=ended, done=last, parts=len(parts), spread_ms=spread_ms)
        left = client.ask("POST", path, chat(model, True))
        await asyncio.wait_for(client.answers[left].get(), PATIENCE_S)
        client.leave(left)
        fields, _, ended = await client.hear(client.ask("GET", "/health"))
        told("http3 left", status=fields[":status"], whole=ended)


def over_tcp(port, authority, model):
    trust = ssl.create_default_context(cafile=authority)
    base = f"https://localhost:{port}"
    for http2 in (False, True):
        with httpx.Client(verify=trust, http1=not http2, http2=http2, trust_env=False) as client:
            answer = client.post(
                f"{base}/v1/chat/completions", content=chat(model, False), timeout=PATIENCE_S
            )
            told(
                "tcp",
                version=answer.http_version,
                status=answer.status_code,
                said=answer.json()["choices"][0]["message"]["content"],
                offer=answer.headers.get("alt-svc"),
            )
    try:
        httpx.get(f"{base}/health", trust_env=False)
        told("stranger", trusted=True)
    except httpx.ConnectError as error:
        told("stranger", trusted=False, why=str(error))


def main():
    match sys.argv[1:]:
        case ["make", folder]:
            make(folder)
        case ["ask", port, authority, model]:
            over_tcp(int(port), authority, model)
            asyncio.run(over_http3(int(port), authority, model))
        case _:
            sys.exit(__doc__)


main()

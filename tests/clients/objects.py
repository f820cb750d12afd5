"""An S3 server with a bucket of documents; ends when standard input does.

Prints the server's address as soon as the objects are there.
"""

import json
import sys

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "corpus"
# More than one listing gives.
OBJECTS = 1_100

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
address = f"http://{host}:{port}"
s3 = boto3.client(
    "s3",
    endpoint_url=address,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
s3.create_bucket(Bucket=BUCKET)


def put(name: str, *texts: str) -> None:
    lines = [json.dumps({"id": f"{name}/{n}", "text": text}) for n, text in enumerate(texts)]
    s3.put_object(Bucket=BUCKET, Key=name, Body="\n".join(lines).encode())


for number in range(OBJECTS):
    put(f"docs/{number:04}.jsonl", f"This is the text with the number {number}.")
put("docs/two words/ü%20.jsonl", "Lake Biwa is the largest lake of Japan.", "It is very old.")
put("docs/packed.jsonl.gz", "Nobody reads this.")
put("private/secret.jsonl", "This may not be read.")
s3.put_object(Bucket=BUCKET, Key="docs/empty/", Body=b"")
print(address, flush=True)
sys.stdin.read()
server.stop()

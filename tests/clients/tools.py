"""Tools of a node, called by models and clients with the official openai, anthropic and mcp SDKs.

HEADWATER_URL and HEADWATER_TOKEN come from the environment; the argument is the name of the model.
One JSON line for each SDK: what the tool said, and what came of it.
"""

import asyncio
import json
import os
import sys
import urllib.request

import anthropic
import httpx2
import openai
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ["HEADWATER_URL"]
TOKEN = os.environ["HEADWATER_TOKEN"]
HEADERS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
QUESTION = {"role": "user", "content": "How is the weather?"}


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, HEADERS)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def call(name, arguments, call_id):
    return ask("/v1/tools/call", {"tool": name, "arguments": arguments, "id": call_id})


def with_openai(model):
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=0, timeout=60)
    tools = ask("/v1/tools?format=openai")["data"]
    chat = client.chat.completions.create
    said = chat(model=model, messages=[QUESTION], tools=tools).choices[0].message
    asked = said.tool_calls[0]
    done = call(asked.function.name, json.loads(asked.function.arguments), f"o-{asked.id}")
    result = {"role": "tool", "tool_call_id": asked.id, "content": json.dumps(done["content"])}
    last = chat(model=model, messages=[QUESTION, said, result], tools=tools)
    return {"tool": done["content"], "text": last.choices[0].message.content}


def with_anthropic(model):
    client = anthropic.Anthropic(base_url=URL, api_key=TOKEN, max_retries=0, timeout=60)
    tools = ask("/v1/tools?format=anthropic")["data"]

    def say(messages):
        return client.messages.create(
            model=model, messages=messages, tools=tools, max_tokens=1000
        ).content

    said = say([QUESTION])
    asked = next(part for part in said if part.type == "tool_use")
    done = call(asked.name, asked.input, f"a-{asked.id}")
    text = json.dumps(done["content"])
    result = {"type": "tool_result", "tool_use_id": asked.id, "content": text}
    answer = {"role": "assistant", "content": [part.model_dump() for part in said]}
    last = say([QUESTION, answer, {"role": "user", "content": [result]}])
    return {"tool": done["content"], "text": last[0].text}


async def with_mcp(mode):
    http = httpx2.AsyncClient(headers=HEADERS, timeout=60)
    async with Client(streamable_http_client(f"{URL}/mcp", http_client=http), mode=mode) as client:
        listed = (await client.list_tools()).tools
        answer = await client.call_tool("weather", {"city": "Kyoto"})
        wrong = await client.call_tool("weather", {"town": "Kyoto"})
        return {
            "names": [tool.name for tool in listed],
            "tool": answer.structured_content,
            "wrong": [wrong.is_error, wrong.content[0].text],
        }


def main():
    model = sys.argv[1]
    print(json.dumps({"sdk": "openai", **with_openai(model)}))
    print(json.dumps({"sdk": "anthropic", **with_anthropic(model)}))
    for mode in ("legacy", "auto"):
        print(json.dumps({"sdk": f"mcp {mode}", **asyncio.run(with_mcp(mode))}))


main()

"""Chats through a node with the official openai and anthropic SDKs; one JSON line per row.

HEADWATER_URL and HEADWATER_TOKEN come from the environment; the arguments are the names of the
models to ask. A row that does not hold says why in its line; the caller judges.
"""

import json
import os
import sys

import anthropic
import openai

URL = os.environ["HEADWATER_URL"]
TOKEN = os.environ["HEADWATER_TOKEN"]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


def expect(held, said):
    if not held:
        raise AssertionError(said)


class OpenAi:
    """The openai SDK."""

    name = "openai"
    error = openai.APIStatusError
    broken = openai.APIError

    def __init__(self, token=TOKEN):
        self.client = openai.OpenAI(
            base_url=URL + "/v1", api_key=token, max_retries=0, timeout=120
        )

    def say(self, model, text):
        answer = self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}]
        )
        expect(answer.choices[0].finish_reason == "stop", answer)
        usage = answer.usage
        return answer.choices[0].message.content, usage.prompt_tokens, usage.completion_tokens

    def stream(self, model, text):
        said, usage, reason = "", None, None
        for chunk in self.client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": text}],
            stream=True,
            stream_options={"include_usage": True},
        ):
            for choice in chunk.choices:
                said += choice.delta.content or ""
                reason = choice.finish_reason or reason
            usage = chunk.usage or usage
        expect(reason == "stop", f"finish_reason {reason}")
        return said, usage.prompt_tokens, usage.completion_tokens

    def call_tool(self, model, streamed):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
        messages = [{"role": "user", "content": "How is the weather?"}]
        request = {"model": model, "messages": messages, "tools": tools}
        if streamed:
            name, arguments, call_id = None, "", None
            for chunk in self.client.chat.completions.create(stream=True, **request):
                for choice in chunk.choices:
                    for call in choice.delta.tool_calls or []:
                        call_id = call.id or call_id
                        name = call.function.name or name
                        arguments += call.function.arguments or ""
        else:
            answer = self.client.chat.completions.create(**request)
            expect(answer.choices[0].finish_reason == "tool_calls", answer)
            call = answer.choices[0].message.tool_calls[0]
            call_id, name, arguments = call.id, call.function.name, call.function.arguments
        expect((name, json.loads(arguments)) == ("weather", {"city": "Kyoto"}), arguments)
        function = {"name": name, "arguments": arguments}
        messages.append(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            }
        )
        messages.append({"role": "tool", "tool_call_id": call_id, "content": "sunny"})
        answer = self.client.chat.completions.create(**request)
        expect("sunny" in answer.choices[0].message.content, answer)


class Anthropic:
    """The anthropic SDK."""

    name = "anthropic"
    error = anthropic.APIStatusError
    broken = anthropic.APIError

    def __init__(self, token=TOKEN):
        self.client = anthropic.Anthropic(
            base_url=URL, api_key=token, max_retries=0, timeout=120
        )

    def say(self, model, text):
        answer = self.client.messages.create(
            model=model, max_tokens=1000, messages=[{"role": "user", "content": text}]
        )
        expect(answer.stop_reason == "end_turn", answer)
        said = "".join(block.text for block in answer.content)
        return said, answer.usage.input_tokens, answer.usage.output_tokens

    def stream(self, model, text):
        with self.client.messages.stream(
            model=model, max_tokens=1000, messages=[{"role": "user", "content": text}]
        ) as stream:
            said = "".join(stream.text_stream)
            whole = stream.get_final_message()
        expect(whole.stop_reason == "end_turn", whole)
        return said, whole.usage.input_tokens, whole.usage.output_tokens

    def call_tool(self, model, streamed):
        tools = [{"name": "weather", "input_schema": WEATHER}]
        messages = [{"role": "user", "content": "How is the weather?"}]
        request = {"model": model, "messages": messages, "tools": tools, "max_tokens": 1000}
        if streamed:
            with self.client.messages.stream(**request) as stream:
                answer = stream.get_final_message()
        else:
            answer = self.client.messages.create(**request)
        expect(answer.stop_reason == "tool_use", answer)
        call = next(block for block in answer.content if block.type == "tool_use")
        expect((call.name, call.input) == ("weather", {"city": "Kyoto"}), call)
        messages.append({"role": "assistant", "content": answer.content})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        messages.append({"role": "user", "content": [result]})
        answer = self.client.messages.create(**request)
        expect("sunny" in answer.content[0].text, answer)


def whole_and_streamed(sdk, model):
    expected = sdk.say(model, "words:20")
    expect(len(expected[0].split()) == 20 and expected[2] == 20, expected)
    for fault in ["", "fault:crlf", "fault:bytes", "fault:comments", "fault:slow-first-byte"]:
        said, asked, answered = sdk.stream(model, f"words:20 {fault}".strip())
        expect(said == expected[0], f"{fault}: {said}")
        expect(answered == 20, f"{fault}: {answered} tokens")
        expect(asked == len(f"words:20 {fault}".split()), f"{fault}: {asked} tokens of input")
    said, _, _ = sdk.stream(model, "words:3 fault:huge")
    expect(len(said) > 1 << 20, f"{len(said)} letters of a huge event")


def tools(sdk, model):
    sdk.call_tool(model, streamed=False)
    sdk.call_tool(model, streamed=True)


def fails(sdk, kind, act):
    try:
        answer = act()
    except kind as error:
        return error
    raise AssertionError(f"no error: {answer}")


def refusals(sdk, model):
    limited = fails(sdk, sdk.error, lambda: sdk.say(model, "fault:429:7"))
    expect(limited.status_code == 429, limited)
    expect(limited.response.headers.get("retry-after") == "7", limited.response.headers)
    refused = fails(sdk, sdk.error, lambda: sdk.say(model, "fault:422"))
    expect(refused.status_code == 422, refused)
    unknown = fails(sdk, sdk.error, lambda: sdk.say("nobody", "hi"))
    expect(unknown.status_code == 404 and "nobody" in str(unknown), unknown)
    stranger = fails(sdk, sdk.error, lambda: type(sdk)("nonsense").say(model, "hi"))
    expect(stranger.status_code == 401 and "nonsense" not in str(stranger), stranger)


def cuts(sdk, model):
    for fault in ["cut", "garbage", "error"]:
        fails(sdk, (sdk.broken, Exception), lambda: sdk.stream(model, f"words:9 fault:{fault}"))


ROWS = {"whole and streamed": whole_and_streamed, "tools": tools, "refusals": refusals}


def main():
    rows = ROWS if os.environ.get("HEADWATER_CUTS") is None else {"cuts": cuts}
    for model in sys.argv[1:]:
        for sdk in [OpenAi(), Anthropic()]:
            for name, row in rows.items():
                line = {"row": name, "sdk": sdk.name, "model": model, "ok": True}
                try:
                    row(sdk, model)
                except Exception as error:  # the line tells it
                    line.update(ok=False, why=f"{type(error).__name__}: {error}"[:500])
                print(json.dumps(line), flush=True)


main()

// Chats through a node with the official openai and anthropic SDKs for Node; one JSON line per row.
//
// HEADWATER_URL and HEADWATER_TOKEN come from the environment; the arguments are the folder with
// node_modules and the names of the models to ask. A row that does not hold says why in its line;
// the caller judges.

import { createRequire } from "node:module";

const [folder, ...models] = process.argv.slice(2);
const load = createRequire(`${folder}/package.json`);
const { default: OpenAI } = load("openai");
const { default: Anthropic } = load("@anthropic-ai/sdk");
const { HEADWATER_URL: url, HEADWATER_TOKEN: token } = process.env;
const limits = { maxRetries: 0, timeout: 120_000 };
const weather = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

function expect(held, said) {
  if (!held) throw new Error(JSON.stringify(said));
}

async function failure(act) {
  try {
    return { said: await act() };
  } catch (error) {
    return { error };
  }
}

const sdks = {
  openai: {
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: token, ...limits }),
    async say(model, content) {
      const messages = [{ role: "user", content }];
      const answer = await this.client.chat.completions.create({ model, messages });
      return [answer.choices[0].message.content, answer.usage.completion_tokens];
    },
    async stream(model, content) {
      const messages = [{ role: "user", content }];
      const options = { stream: true, stream_options: { include_usage: true } };
      let [said, usage] = ["", null];
      const request = { model, messages, ...options };
      for await (const chunk of await this.client.chat.completions.create(request)) {
        said += chunk.choices[0]?.delta?.content ?? "";
        usage = chunk.usage ?? usage;
      }
      return [said, usage.completion_tokens];
    },
    async callTool(model) {
      const tools = [{ type: "function", function: { name: "weather", parameters: weather } }];
      const messages = [{ role: "user", content: "How is the weather?" }];
      const answer = await this.client.chat.completions.create({ model, messages, tools });
      const call = answer.choices[0].message.tool_calls[0];
      return [call.function.name, JSON.parse(call.function.arguments)];
    },
  },
  anthropic: {
    client: new Anthropic({ baseURL: url, apiKey: token, ...limits }),
    async say(model, content) {
      const messages = [{ role: "user", content }];
      const answer = await this.client.messages.create({ model, messages, max_tokens: 1000 });
      return [answer.content[0].text, answer.usage.output_tokens];
    },
    async stream(model, content) {
      const messages = [{ role: "user", content }];
      const stream = this.client.messages.stream({ model, messages, max_tokens: 1000 });
      const answer = await stream.finalMessage();
      return [answer.content[0].text, answer.usage.output_tokens];
    },
    async callTool(model) {
      const tools = [{ name: "weather", input_schema: weather }];
      const messages = [{ role: "user", content: "How is the weather?" }];
      const request = { model, messages, tools, max_tokens: 1000 };
      const answer = await this.client.messages.create(request);
      const call = answer.content.find((block) => block.type === "tool_use");
      return [call.name, call.input];
    },
  },
};

const rows = {
  async "whole and streamed"(sdk, model) {
    const [expected, tokens] = await sdk.say(model, "words:20");
    expect(tokens === 20 && expected.split(" ").length === 20, [expected, tokens]);
    for (const fault of ["crlf", "bytes", "comments"]) {
      const [said, streamed] = await sdk.stream(model, `words:20 fault:${fault}`);
      expect(said === expected && streamed === 20, [fault, said, streamed]);
    }
  },
  async tools(sdk, model) {
    const [name, input] = await sdk.callTool(model);
    expect(name === "weather" && input.city === "Kyoto", [name, input]);
  },
  async refusals(sdk, model) {
    const limited = await failure(() => sdk.say(model, "fault:429:7"));
    expect(limited.error?.status === 429, String(limited.error));
    expect(limited.error.headers.get("retry-after") === "7", "retry-after");
    const unknown = await failure(() => sdk.say("nobody", "hi"));
    expect(unknown.error?.status === 404, String(unknown.error));
  },
  async cuts(sdk, model) {
    for (const fault of ["cut", "garbage", "error"]) {
      const cut = await failure(() => sdk.stream(model, `words:9 fault:${fault}`));
      expect(cut.error, [fault, cut.said]);
    }
  },
};

for (const model of models) {
  for (const [name, sdk] of Object.entries(sdks)) {
    for (const [row, act] of Object.entries(rows)) {
      const line = { row, sdk: name, model, ok: true };
      try {
        await act(sdk, model);
      } catch (error) {
        Object.assign(line, { ok: false, why: String(error).slice(0, 500) });
      }
      console.log(JSON.stringify(line));
    }
  }
}

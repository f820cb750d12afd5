// Tools of a node, called with the official openai and MCP SDKs for Node; one JSON line for each.
//
// HEADWATER_URL and HEADWATER_TOKEN come from the environment; the arguments are the folder with
// node_modules and the name of the model.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, model] = process.argv.slice(2);
const from = createRequire(`${folder}/package.json`);
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { default: OpenAI } = from("openai");
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await load(
  "@modelcontextprotocol/sdk/client/streamableHttp.js",
);
const { HEADWATER_URL: url, HEADWATER_TOKEN: token } = process.env;
const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };

async function ask(path, body) {
  const method = body ? "POST" : "GET";
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function withOpenAi() {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0, timeout: 60_000 });
  const tools = (await ask("/v1/tools?format=openai")).data;
  const messages = [{ role: "user", content: "How is the weather?" }];
  const said = (await client.chat.completions.create({ model, messages, tools })).choices[0].message;
  const asked = said.tool_calls[0];
  const done = await ask("/v1/tools/call", {
    tool: asked.function.name,
    arguments: JSON.parse(asked.function.arguments),
    id: `node-${asked.id}`,
  });
  const result = { role: "tool", tool_call_id: asked.id, content: JSON.stringify(done.content) };
  const last = await client.chat.completions.create({
    model,
    messages: [...messages, said, result],
    tools,
  });
  return { tool: done.content, text: last.choices[0].message.content };
}

async function withMcp() {
  const client = new Client({ name: "test", version: "1" });
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
    requestInit: { headers: { authorization: headers.authorization } },
  });
  await client.connect(transport);
  const names = (await client.listTools()).tools.map((tool) => tool.name);
  const answer = await client.callTool({ name: "weather", arguments: { city: "Kyoto" } });
  const wrong = await client.callTool({ name: "weather", arguments: { town: "Kyoto" } });
  await client.close();
  return { names, tool: answer.structuredContent, wrong: [wrong.isError, wrong.content[0].text] };
}

console.log(JSON.stringify({ sdk: "openai", ...(await withOpenAi()) }));
console.log(JSON.stringify({ sdk: "mcp", ...(await withMcp()) }));

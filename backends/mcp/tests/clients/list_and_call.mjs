// The official TypeScript SDK lists and calls; prints what it saw as one line of JSON.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, url] = process.argv.slice(2);
const from = createRequire(`${folder}/package.json`);
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await load(
  "@modelcontextprotocol/sdk/client/streamableHttp.js",
);

const client = new Client({ name: "test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const names = [];
let cursor;
do {
  const page = await client.listTools({ cursor });
  names.push(...page.tools.map((tool) => tool.name));
  cursor = page.nextCursor;
} while (cursor);
const added = await client.callTool({ name: "add", arguments: { a: 2, b: 3 } });
const failed = await client.callTool({ name: "fail", arguments: {} });
console.log(
  JSON.stringify({ names, sum: added.structuredContent, failed: failed.isError }),
);
await client.close();

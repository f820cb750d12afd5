"""The official Python SDK lists and calls; prints what it saw as one line of JSON a revision."""

import asyncio
import json
import sys

from mcp.client.client import Client


async def look(url: str, mode: str) -> dict:
    async with Client(url, mode=mode) as client:
        names, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        added = await client.call_tool("add", {"a": 2, "b": 3})
        failed = await client.call_tool("fail", {})
        return {
            "mode": mode,
            "names": names,
            "sum": added.structured_content,
            "failed": failed.is_error,
        }


async def main() -> None:
    for mode in ("legacy", "auto"):
        print(json.dumps(await look(sys.argv[1], mode)))


asyncio.run(main())

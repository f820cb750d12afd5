// Every move of a pointer: what was served when, by whom, and why.

import { ask, at, to } from "./api.js";
import { badge, make, table, time, version } from "./parts.js";

const SIGNS = { production: ["● production", "good"], staging: ["◐ staging", "one"], canary: ["◔ canary", "one"] };

export async function history({ name, signal }) {
  const { data } = await ask("GET", at(name, "history"), undefined, signal);
  const compare = (move) => (move.from && move.to ? make("a", { href: to(name, "versions", `${move.from}..${move.to}`), "aria-label": `What move ${move.number} changed` }, "Changes") : null);
  return table("What was served when", [
    ["Move", (move) => move.number, true], ["Pointer", (move) => badge(...(SIGNS[move.pointer] || [move.pointer, "soft"]))],
    ["From", (move) => version(move.from)], ["To", (move) => version(move.to)], ["By", (move) => move.by, "name"],
    ["Reason", (move) => move.reason, "wide"], ["Promotion", (move) => move.promotion, true], ["When", (move) => time(move.at_ms)], ["", compare],
  ], data, "Nothing has moved yet. When a version comes to staging, canary or production, it is written down here.");
}

// A prompt's versions; two of them side by side.

import { to, versionsOf } from "./api.js";
import { badge, button, choice, empty, field, hash, make, option, state, table, time } from "./parts.js";
import { differences } from "./diff.js";

export async function versions({ name, head, rest, signal }) {
  const all = await versionsOf(name, signal);
  const numbers = all.map((one) => one.version);
  const chosen = /^(\d+)\.\.(\d+)$/.exec(rest[0] || "");
  const from = chosen ? Number(chosen[1]) : head.production && head.production !== numbers[0] ? head.production : numbers[1];
  const to_ = chosen ? Number(chosen[2]) : numbers[0];

  const [left, right] = [choice(all.map(option), from), choice(all.map(option), to_)];
  const go = () => { location.hash = to(name, "versions", `${left.value}..${right.value}`); };
  const compare = make("form", { class: "row", submit: (event) => { event.preventDefault(); go(); } },
    field("From", left, "", "grow"), field("To", right, "", "grow"), make("button", { type: "submit", class: "main" }, "Compare"),
    button("Swap", () => { [left.value, right.value] = [right.value, left.value]; go(); }));

  const rows = table("All versions", [
    ["Version", (one) => make("strong", {}, one.version), true], ["State", (one) => state(one.state)],
    ["Why", (one) => one.message, "wide"], ["Author", (one) => one.author, "name"],
    ["Tags", (one) => (one.tags?.length ? make("span", { class: "signs" }, ...one.tags.map((tag) => badge(tag, "soft"))) : "–"), "wide"],
    ["Made", (one) => time(one.created_ms)], ["From", (one) => one.parent, true], ["Hash", (one) => hash(one.sha256)],
    ["", (one) => make("span", { class: "signs" },
      make("a", { href: to(name, "edit", one.version), "aria-label": `Edit from version ${one.version}` }, "Edit"),
      one.parent ? make("a", { href: to(name, "versions", `${one.parent}..${one.version}`), "aria-label": `What version ${one.version} changed` }, "Changes") : null,
      one.state === "production" ? null : make("a", { href: to(name, "promotion", one.version), "aria-label": `Promote version ${one.version}` }, "Promote"))],
  ], all, "No version is committed yet.");

  const result = all.length < 2
    ? empty(make("p", {}, "There is one version. When there are two, what changed between them is shown here."))
    : chosen ? await differences(name, from, to_, signal) : make("p", { class: "hint" }, "Choose two versions, and press “Compare”.");
  return make("div", { class: "stack" }, all.length > 1 ? make("section", { class: "card", "aria-label": "Compare two versions" }, make("h3", {}, "Compare two versions"), compare, result) : result, rows);
}

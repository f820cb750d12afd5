// Experiments: which version is better, found out with the users' own reactions.

import { ask, at, to, versionsOf } from "./api.js";
import { badge, count, empty, every, field, forbid, lacks, make, many, number, percent, question, reasonField, table, time } from "./parts.js";
import { intervals } from "./charts.js";
import { planning } from "./experiment-form.js";

const REFRESH_MS = 10000;
const DAY_MS = 86400000;
// Words and signs: colour alone says nothing to some.
const DECISIONS = { better: ["▲ better", "good"], worse: ["▼ worse", ""], undecided: ["◆ undecided", "soft"] };
const state = (one) => (one.state === "running" ? badge("▶ running", "one") : badge("■ ended", "soft"));
const signed = (value) => (Number.isFinite(value) ? `${value > 0 ? "+" : value < 0 ? "−" : ""}${number(Math.abs(value))}` : "–");

const titled = (name, one) => (name === one.control && name !== "control" ? `${name} (control)` : name);

function left(one) {
  if (one.state !== "running") return "–";
  const days = Math.ceil((one.ends_ms - Date.now()) / DAY_MS);
  return days > 0 ? many(days, "day") : "its time is over";
}

function goal(one, { name, kind }) {
  const rows = (one.analysis || []).filter((row) => row.goal === name);
  const compared = rows.filter((row) => row.variant !== one.control && Number.isFinite(row.difference) && Number.isFinite(row.lower) && Number.isFinite(row.upper));
  return make("section", { class: "card", "aria-label": `Goal ${name}` }, make("h3", {}, name, " ", badge(kind === "binary" ? "yes or no" : "a number", "soft")),
    compared.length ? make("figure", {}, intervals(compared.map((row) => ({ ...row, label: row.variant })), signed),
      make("figcaption", {}, `Difference to ${one.control}, with its confidence interval. While the interval touches the line in the middle, nothing is decided.`)) : make("p", { class: "hint" }, "Too few reactions came in to compare the variants. They come with POST /v1/feedback from your program."),
    rows.length ? table("", [
      ["Variant", (row) => titled(row.variant, one), "name"], ["Reactions", (row) => count(row.count), true],
      ["Mean", (row) => number(row.mean), true], ["Difference", (row) => (row.variant === one.control ? "–" : signed(row.difference)), true],
      ["Between", (row) => (row.variant === one.control || !Number.isFinite(row.lower) ? "–" : `${signed(row.lower)} and ${signed(row.upper)}`)],
      ["P value", (row) => (row.variant === one.control ? "–" : number(row.p_value)), true],
      ["So far", (row) => (row.variant === one.control ? "–" : badge(...(DECISIONS[row.decision] || [row.decision || "–", "soft"])))],
    ], rows) : null);
}

async function detail({ name, head, signal, reload }, key) {
  const one = await ask("GET", at(name, "experiments", key), undefined, signal);
  const total = one.variants.reduce((sum, variant) => sum + variant.weight, 0) || 1;
  const stop = forbid(make("button", { type: "button", click: () => question({ title: `Stop ${one.name}`, text: "Everybody gets the version in production from then on. It cannot be started again.", confirm: "Stop", fields: [reasonField("Others read it in the experiment.")],
    work: async ({ reason }) => {
      await ask("POST", at(name, "experiments", key, "stop"), { reason });
      await reload(`✓ ${one.name} is stopped.`);
    } }) }, "Stop"), lacks(head, "promoter"));
  if (one.state === "running") {
    let last = JSON.stringify(one.analysis);
    every(REFRESH_MS, signal, async () => {
      const now = await ask("GET", at(name, "experiments", key), undefined, signal).catch(() => null);
      if (!now || document.querySelector("dialog[open]")) return;
      const told = JSON.stringify(now.analysis);
      if (told !== last || now.state !== one.state) { last = told; reload(); }
    });
  }
  const extras = [
    one.segments?.length ? `Only ${one.segments.map((segment) => `${segment.attribute}: ${segment.values.join(" or ")}`).join("; ")}.` : "All users take part.",
    one.layer && `Layer ${one.layer}${one.share ? `, places ${one.share.join(" to ")} of 10000` : ""}.`,
    one.holdout_per_mille ? `${percent(one.holdout_per_mille)} are kept out of all changes.` : "", one.owner && `Owner: ${one.owner}.`,
  ].filter(Boolean).join(" ");
  return make("div", { class: "stack", id: "experiment", "data-state": one.state },
    make("section", { class: "card", "aria-label": one.name }, make("div", { class: "part-head" }, make("h3", {}, one.name), state(one), one.state === "running" ? stop : null),
      make("dl", { class: "figures" }, ...[["Days left", left(one)], ["Started", time(one.started_ms)], [one.state === "running" ? "Ends" : "Ended", time(one.ends_ms)], ["Divided by", one.unit]]
        .map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value)))),
      one.ended_reason ? make("p", { class: "note" }, `Ended: ${one.ended_reason}`) : null, make("p", { class: "hint" }, extras),
      table("", [["Variant", (variant) => titled(variant.name, one), "name"],
        ["Version", (variant) => make("a", { href: to(name, "edit", variant.version) }, `version ${variant.version}`)], ["Share", (variant) => percent((variant.weight / total) * 1000), true]], one.variants)),
    ...one.goals.map((one_) => goal(one, one_)));
}

export async function experiments(context) {
  const { name, head, rest, signal } = context;
  const back = make("a", { href: to(name, "experiments") }, "← All experiments");
  // A name never begins with "-".
  if (rest[0] === "-new") return make("div", { class: "stack" }, back, planning(context, await versionsOf(name, signal)));
  if (rest[0]) return make("div", { class: "stack" }, back, await detail(context, rest[0]));
  const { data } = await ask("GET", at(name, "experiments"), undefined, signal);
  const missing = lacks(head, "promoter") || (head.newest < 2 ? "An experiment compares two versions; there is only one." : "");
  const create = forbid(make("a", { class: "button main", href: to(name, "experiments", "-new"), role: "button" }, "New experiment"), missing);
  if (data.length === 0) {
    return empty(make("p", {}, "There are no experiments yet. An experiment gives two or more versions to different users, and tells from their reactions which one is better."),
      head.newest < 2 ? make("p", {}, "Commit a second version first, under “Edit”.") : null, create);
  }
  return make("div", { class: "stack" }, make("div", { class: "row end" }, create), table("Experiments", [
    ["Name", (one) => make("a", { href: to(name, "experiments", one.name) }, one.name), "name"], ["State", state],
    ["Variants", (one) => one.variants.map((variant) => `${variant.name}: ${variant.version}`).join(", "), "wide"], ["Goals", (one) => one.goals.map((one_) => one_.name).join(", "), "wide"],
    ["Days left", left], ["Started", (one) => time(one.started_ms)], ["Owner", (one) => one.owner, "name"],
  ], data));
}

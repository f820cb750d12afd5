// Evals: a version is asked the cases of a golden set, and every answer is judged.

import { ask, at, to, versionsOf } from "./api.js";
import { act, badge, choice, count, empty, every, field, forbid, lacks, make, many, ms, place, score, table, time, usd } from "./parts.js";
import { scores } from "./charts.js";

const REFRESH_MS = 2000;
const PAUSE_MS = 300;
const STATES = { running: ["▶ running", "one"], done: ["✓ done", "good"], stopped: ["✗ stopped", ""] };
const state = (name) => badge(...(STATES[name] || [name, "soft"]));

function starting({ name, head, signal }, versions, sets, last) {
  const where = place();
  const told = make("p", { class: "hint", role: "status", id: "estimate" });
  const which = choice(versions.map((one) => [one.version, `${one.version} – ${one.state}`]), versions[0].version);
  const set = choice(sets.map((one) => [one.name, `${one.name} (${many(one.cases, "case")})`]), head.gates?.golden_set || last || sets[0].name);
  const most = make("input", { type: "number", min: 1, class: "short", placeholder: "all" });
  const budget = make("input", { type: "number", min: 0.01, step: 0.01, class: "short", placeholder: "no limit" });
  const submit = make("button", { type: "submit", class: "main" }, "Run");
  const missing = lacks(head, "editor");
  forbid(submit, missing);
  const body = () => ({ version: Number(which.value), golden_set: set.value, ...(most.value ? { limit: Number(most.value) } : {}),
    ...(budget.value ? { budget_micro_usd: Math.round(Number(budget.value) * 1e6) } : {}) });
  let asking;
  const estimate = () => act(where, async () => {
    asking?.abort();
    asking = new AbortController();
    told.textContent = "Estimating";
    const answer = await ask("POST", at(name, "evals"), { ...body(), dry_run: true }, asking.signal).catch((error) => {
      if (error.name !== "AbortError") told.textContent = "There is no estimate.";
      throw error;
    });
    told.textContent = `Estimate: ${many(answer.estimate.cases, "case")}, about ${count(answer.estimate.tokens)} tokens, about ${usd(answer.estimate.micro_usd)}.`;
  });
  let timer;
  const again = () => { clearTimeout(timer); timer = setTimeout(estimate, PAUSE_MS); };
  signal.addEventListener("abort", () => { clearTimeout(timer); asking?.abort(); });
  const form = make("form", { class: "card", id: "start-eval", change: again }, make("h3", {}, "Run an eval"),
    make("div", { class: "cells" }, field("Version", which), field("Golden set", set, "", "grow"), field("Most cases", most), field("Budget in US dollars", budget)),
    told, where, make("div", { class: "row end" }, submit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    act(where, async () => {
      const begun = await ask("POST", at(name, "evals"), body());
      location.hash = to(name, "evals", begun.id);
    }, submit);
  });
  if (!missing) estimate();
  return form;
}

function results(one) {
  const passed = (result) => (result.passed ? badge("✓ passed", "good") : badge("✗ failed"));
  const long = (text) => make("div", { class: "answer" }, text || "–");
  return make("section", { class: "card", id: "eval", "data-state": one.state, "aria-label": `Eval ${one.id}` },
    make("div", { class: "part-head" }, make("h3", {}, `Eval ${one.id}: version ${one.version}`), state(one.state)),
    make("dl", { class: "figures" }, ...[["Score", score(one.score)], ["Cases", `${count(one.finished)} of ${count(one.cases)}`], ["Cost", usd(one.cost_micro_usd)], ["Golden set", `${one.golden_set}, version ${one.golden_version}`]]
      .map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value)))),
    one.state === "running" ? make("progress", { max: Math.max(one.cases, 1), value: one.finished, "aria-label": "Cases that are finished" }) : null,
    table("Cases, the worst first", [
      ["Case", (result) => make("code", {}, result.case)], ["Score", (result) => score(result.score), true], ["Passed", passed],
      ["Answer", (result) => long(result.answer), "wide"], ["Reason", (result) => long(result.reason), "wide"],
      ["Took", (result) => ms(result.latency_ms), true], ["Cost", (result) => usd(result.cost_micro_usd), true],
    ], [...(one.results || [])].sort((left, right) => left.score - right.score), "No case is finished yet."));
}

async function live({ name, signal, reload }, id) {
  const box = make("div");
  let last = "";
  async function fill() {
    const one = await ask("GET", at(name, "evals", id), undefined, signal);
    const [now, isFirst] = [JSON.stringify(one), last === ""];
    if (now !== last) box.replaceChildren(results(one));
    last = now;
    if (!isFirst && one.state !== "running") await reload();
    return one;
  }
  const one = await fill();
  const failed = place();
  if (one.state === "running") every(REFRESH_MS, signal, () => act(failed, fill));
  return make("div", {}, box, failed);
}

export async function evals(context) {
  const { name, head, rest, signal } = context;
  const read = (path) => ask("GET", path, undefined, signal).then(({ data }) => data);
  const [all, sets, versions] = await Promise.all([read(at(name, "evals")), read("/v1/golden"), versionsOf(name, signal)]);
  const start = sets.length ? starting(context, versions, sets, all[0]?.golden_set)
    : empty(make("p", {}, "An eval asks a version questions whose good answers are known. Make a golden set first."), make("a", { href: to("-", "golden") }, "Golden sets"));
  // The newest whole eval of each version, with the set that its gates name, or else the one used last.
  const whole = all.filter((one) => one.state === "done" && one.score !== null);
  const set = whole.some((one) => one.golden_set === head.gates?.golden_set) ? head.gates.golden_set : whole[0]?.golden_set;
  const newest = new Map();
  for (const one of whole.filter((one) => one.golden_set === set).sort((left, right) => left.id - right.id)) newest.set(one.version, one);
  const bars = [...newest.values()].sort((left, right) => left.version - right.version).slice(-12)
    .map((one) => ({ label: `v ${one.version}`, value: one.score, told: score(one.score) }));
  const chart = bars.length ? make("figure", {}, scores(bars, set === head.gates?.golden_set ? head.gates.min_score : undefined),
    make("figcaption", {}, `Score by version on ${set}${set === head.gates?.golden_set ? `; the dashed line is the least score, ${score(head.gates.min_score)}` : ""}`)) : null;
  const rows = all.length || sets.length ? table("Evals", [
    ["Eval", (one) => make("a", { href: to(name, "evals", one.id), "aria-label": `Results of eval ${one.id}` }, `eval ${one.id}`)], ["Version", (one) => one.version, true], ["Golden set", (one) => `${one.golden_set} (${one.golden_version})`, "name"],
    ["State", (one) => state(one.state)], ["Score", (one) => score(one.score), true], ["Cases", (one) => `${count(one.finished)} of ${count(one.cases)}`, true],
    ["Cost", (one) => usd(one.cost_micro_usd), true], ["By", (one) => one.by, "name"], ["When", (one) => time(one.created_ms)],
  ], all, "No eval has run yet. Choose a version above, look at the estimate, and press “Run”.") : null;
  return make("div", { class: "stack" }, start, rest[0] ? await live(context, rest[0]) : null, chart, rows);
}

"use strict";
// The operator's page: everything it shows comes from the routes that operators have.

const find = (id) => document.getElementById(id);
const TOKEN = "headwater-token";
const REFRESH_MS = 5000;
let section = "traffic";

function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.map((child) => (child instanceof Node ? child : String(child ?? "–"))));
  return node;
}

function problem(text) {
  const line = find("problem");
  line.textContent = text || "";
  line.hidden = !text;
}

// An answer of the API, or an error in its own words.
async function ask(method, path, body, kind) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) {
    let message = `${answer.status} ${answer.statusText}`;
    try { message = JSON.parse(text).error.message; } catch { /* not in the API's shape */ }
    throw new Error(message);
  }
  return kind === "text" ? text : JSON.parse(text);
}

async function query(sql) {
  const { columns, rows } = await ask("POST", "/v1/audit/query", { sql });
  return rows.map((row) => Object.fromEntries(columns.map((name, place) => [name, row[place]])));
}

// A table of rows; a column is a title, a function of a row, and whether it is a number.
function table(caption, columns, rows, empty) {
  const head = columns.map(([title, , number]) => make("th", { scope: "col", class: number ? "number" : "" }, title));
  const line = (row) => make("tr", {}, ...columns.map(([, cell, number]) =>
    make("td", { class: number === true ? "number" : number || "" }, cell(row))));
  const whole = make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows.map(line)));
  const box = make("div", { class: "table" }, whole);
  if (rows.length === 0) box.append(make("p", { class: "empty" }, empty || "nothing yet"));
  return box;
}

function figures(target, pairs) {
  target.replaceChildren(...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// Bars of one or two parts each: { label, one, two }.
function chart(target, bars, unit) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const add = (name, attributes, text) => {
    const node = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    svg.append(node);
    return node;
  };
  const [width, height, foot] = [900, 176, 20];
  const most = Math.max(...bars.map((bar) => bar.one + (bar.two || 0)), 1e-9);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", bars.map((bar) => `${bar.label}: ${unit(bar.one + (bar.two || 0))}`).join(", ") || "no data");
  const step = width / Math.max(bars.length, 1);
  const scale = (height - foot - 18) / most;
  bars.forEach((bar, place) => {
    const [x, wide] = [place * step + step * 0.15, Math.min(step * 0.7, 60)];
    const one = bar.one * scale;
    const two = (bar.two || 0) * scale;
    const base = height - foot;
    const title = `${bar.label}: ${unit(bar.one)}${bar.two ? `, ${unit(bar.two)}` : ""}`;
    for (const [kind, y, tall] of [["bar-one", base - one, one], ["bar-two", base - one - two, two]]) {
      if (tall > 0) {
        const bar = add("rect", { class: kind, x, y, width: wide, height: tall });
        const tip = document.createElementNS(space, "title");
        tip.textContent = title;
        bar.append(tip);
      }
    }
    if (bars.length <= 16 || place % Math.ceil(bars.length / 16) === 0) add("text", { x, y: height - 5 }, bar.label);
  });
  add("line", { class: "axis", x1: 0, x2: width, y1: height - foot, y2: height - foot });
  add("text", { x: 2, y: 12 }, `most: ${unit(most < 1e-6 ? 0 : most)}`);
  target.replaceChildren(svg);
}

const count = (value) => Number(value || 0).toLocaleString("en");
const usd = (value) => `$${Number(value || 0).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 })}`;
const ms = (value) => (value === null || value === undefined ? "–" : `${count(Math.round(value))} ms`);
// A time of the audit, in ms since 1970: told as a number, or as text in UTC.
const instant = (value) => (typeof value === "number" ? value : Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(value) ? value : `${String(value).replace(" ", "T")}Z`));
const time = (value) => (value ? new Date(value).toLocaleString() : "–");

async function traffic() {
  const since = Date.now() - 15 * 60 * 1000;
  const rows = await query(`select time, team, model_asked, backend, model_served, outcome, tokens_in, tokens_out,
    cost_usd, latency_ms, ttft_ms, cache_hit, retries from audit
    where day >= date '${new Date(since).toISOString().slice(0, 10)}' order by time desc limit 5000`);
  for (const row of rows) row.time = instant(row.time);
  const recent = rows.filter((row) => row.time >= since);
  const bad = (row) => row.outcome !== "whole" && row.outcome !== "left";
  const sum = (name, of = recent) => of.reduce((all, row) => all + Number(row[name] || 0), 0);
  const middle = (name, share, of = recent) => {
    const values = of.map((row) => row[name]).filter((value) => value !== null).sort((a, b) => a - b);
    return values[Math.min(values.length - 1, Math.floor(values.length * share))];
  };
  figures(find("traffic-figures"), [
    ["Requests", count(recent.length)],
    ["Failed", `${count(recent.filter(bad).length)}`],
    ["First part, median", ms(middle("ttft_ms", 0.5))],
    ["Whole, 95 %", ms(middle("latency_ms", 0.95))],
    ["Tokens", count(sum("tokens_in") + sum("tokens_out"))],
    ["Given again", count(recent.filter((row) => row.cache_hit).length)],
    ["Cost", usd(sum("cost_usd"))],
  ]);
  const bars = [...Array(15).keys()].map((minute) => {
    const [from, to] = [since + minute * 60000, since + (minute + 1) * 60000];
    const of = recent.filter((row) => row.time >= from && row.time < to);
    const label = new Date(to).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return { label, one: of.filter((row) => !bad(row)).length, two: of.filter(bad).length };
  });
  chart(find("traffic-chart"), bars, count);
  const names = [...new Set(recent.map((row) => `${row.model_asked}\n${row.backend || "–"}`))].sort();
  const groups = names.map((name) => [name.split("\n"), recent.filter((row) => `${row.model_asked}\n${row.backend || "–"}` === name)]);
  find("traffic-models").replaceChildren(table("By model and backend", [
    ["Model", ([[model]]) => model], ["Backend", ([[, backend]]) => backend],
    ["Requests", ([, of]) => count(of.length), true], ["Failed", ([, of]) => count(of.filter(bad).length), true],
    ["First part, median", ([, of]) => ms(middle("ttft_ms", 0.5, of)), true],
    ["Tokens in", ([, of]) => count(sum("tokens_in", of)), true], ["Tokens out", ([, of]) => count(sum("tokens_out", of)), true],
    ["Cost", ([, of]) => usd(sum("cost_usd", of)), true],
  ], groups));
  find("traffic-newest").replaceChildren(table("The newest requests", [
    ["Time", (row) => time(row.time)], ["Team", (row) => row.team], ["Asked", (row) => row.model_asked],
    ["Served by", (row) => (row.backend ? `${row.backend}/${row.model_served}` : "–")],
    ["Outcome", (row) => make("span", { class: bad(row) ? "badge" : "badge good" }, row.cache_hit ? "given again" : row.outcome)],
    ["Tokens", (row) => `${count(row.tokens_in)} + ${count(row.tokens_out)}`, true],
    ["Took", (row) => ms(row.latency_ms), true], ["Retries", (row) => count(row.retries), true], ["Cost", (row) => usd(row.cost_usd), true],
  ], recent.slice(0, 25)));
}

function spendPath(format) {
  const form = new FormData(find("spend-form"));
  const query = new URLSearchParams({ from: form.get("from"), to: form.get("to"), by: form.get("by"), format });
  return `/v1/audit/cost?${query}`;
}

async function spend() {
  const { columns, rows } = await ask("GET", spendPath("json"));
  const all = rows.map((row) => Object.fromEntries(columns.map((name, place) => [name, row[place]])));
  const cost = columns.find((name) => name.includes("cost")) || "cost_usd";
  const dayOf = (row) => (typeof row.day === "number" ? new Date(row.day * 86400000).toISOString().slice(0, 10) : row.day);
  const days = [...new Set(all.map(dayOf))].sort();
  chart(find("spend-chart"), days.map((day) => ({
    label: String(day).slice(5),
    one: all.filter((row) => dayOf(row) === day).reduce((sum, row) => sum + Number(row[cost] || 0), 0),
  })), usd);
  const cell = (name) => (row) => (name === "day" ? dayOf(row) : name === cost ? usd(row[name]) : typeof row[name] === "number" ? count(row[name]) : row[name]);
  const isNumber = (name) => all.some((row) => typeof row[name] === "number") && name !== "day";
  find("spend-table").replaceChildren(table("By day", columns.map((name) => [name.replaceAll("_", " "), cell(name), isNumber(name)]), all));
}

async function quotas() {
  const team = new FormData(find("quotas-form")).get("team");
  if (!team) return;
  const { limits } = await ask("GET", `/v1/tenants/${encodeURIComponent(team)}/limits`);
  const share = (limit) => make("meter", { min: 0, max: Math.max(limit.amount, 1), value: limit.taken, "aria-label": `${limit.taken} of ${limit.amount}` });
  find("quotas-limits").replaceChildren(table(`Limits of ${team}`, [
    ["Unit", (limit) => limit.unit], ["Window", (limit) => limit.window], ["Model", (limit) => limit.model || "all"],
    ["Limit", (limit) => count(limit.amount), true], ["Taken", (limit) => count(limit.taken), true], ["", share],
  ], limits, "no limits"));
  const { usage } = await ask("GET", `/v1/tenants/${encodeURIComponent(team)}/usage`);
  find("quotas-usage").replaceChildren(table("Used by day", [
    ["Day", (row) => row.day], ["Model", (row) => row.model], ["Requests", (row) => count(row.requests), true],
    ["Tokens", (row) => count(row.tokens), true], ["Cost", (row) => usd(row.micro_usd / 1e6), true],
  ], usage));
}

async function models() {
  const served = await ask("GET", "/v1/gateway/config");
  const rows = served.document.models.flatMap((model) => {
    const all = (targets, kind) => (targets || []).map((target) => ({ model, target, kind }));
    return [...all(model.targets, "target"), ...all(model.fallbacks, "fallback")];
  });
  const price = ({ target }) => (target.free ? "free" : target.price ? `${usd(target.price.input)} / ${usd(target.price.output)}` : "–");
  find("models-served").replaceChildren(table(`Version ${served.version}`, [
    ["Name", ({ model }) => model.name], ["Backend", ({ target }) => target.backend],
    ["Model there", ({ model, target }) => target.model || model.name],
    ["Chosen by", ({ model, kind }) => (kind === "fallback" ? "fallback" : model.choice || "weight")],
    ["Weight", ({ target, kind }) => (kind === "fallback" ? "–" : count(target.weight ?? 1)), true],
    ["Price of a million tokens, in / out", price, true],
    ["", ({ target }) => (target.canary ? make("span", { class: "badge" }, "canary") : "")],
  ], rows, "no models are served"));
  const { data } = await ask("GET", "/v1/gateway/config/versions");
  const back = (version) => {
    if (version.version === served.version) return make("span", { class: "badge good" }, "served");
    const button = make("button", { type: "button" }, "Serve again");
    button.addEventListener("click", () => run(async () => {
      if (!confirm(`Serve version ${version.version} again, on every node?`)) return;
      await ask("POST", "/v1/gateway/config/rollback", {
        to_version: version.version, expected_version: served.version, reason: "by the admin page" });
      await models();
    }));
    return button;
  };
  find("models-versions").replaceChildren(table("Versions", [
    ["Version", (version) => version.version, true], ["Made", (version) => time(version.created_ms)],
    ["By", (version) => version.author], ["Why", (version) => version.reason || "–", "wide"],
    ["Restores", (version) => version.restores ?? "–", true], ["", back],
  ], data, "no version is stored; the node's settings are served"));
}

async function keys() {
  const { data } = await ask("GET", "/v1/keys");
  const second = (value) => (value ? time(value * 1000) : "–");
  const revoke = (key) => {
    if (key.revoked_at) return make("span", { class: "badge" }, "revoked");
    const button = make("button", { type: "button", "aria-label": `Revoke ${key.id}` }, "Revoke");
    button.addEventListener("click", () => run(async () => {
      if (!confirm(`Revoke the key ${key.id} of ${key.team}? This cannot be undone.`)) return;
      await ask("POST", `/v1/keys/${encodeURIComponent(key.id)}/revoke`, {});
      await keys();
    }));
    return button;
  };
  find("keys-list").replaceChildren(table("Virtual keys", [
    ["Key", (key) => make("code", {}, key.id)], ["Team", (key) => key.team], ["Project", (key) => key.project],
    ["User", (key) => key.user], ["Models", (key) => (key.models || []).join(", ")], ["Tier", (key) => key.tier],
    ["Made", (key) => second(key.created_at)], ["Ends", (key) => second(key.expires_at)], ["Note", (key) => key.note || "–", "wide"], ["", revoke],
  ], data));
}

async function makeKey() {
  const form = new FormData(find("keys-form"));
  const text = (name) => String(form.get(name) || "").trim() || undefined;
  const names = text("models");
  const made = await ask("POST", "/v1/keys", {
    team: text("team"), project: text("project"), user: text("user"), note: text("note") || "",
    models: names && names.split(",").map((name) => name.trim()).filter(Boolean),
  });
  const line = find("keys-secret");
  line.replaceChildren("The new key, shown this once: ", make("code", {}, made.key));
  line.hidden = false;
  await keys();
}

const SECTIONS = { traffic, spend, quotas, models, keys };

async function run(work) {
  try {
    await work();
    problem("");
  } catch (error) {
    problem(error.message);
  }
}

function show(name) {
  section = name;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.section === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  for (const one of document.querySelectorAll("main > section")) one.hidden = one.id !== name;
  location.hash = name;
  return run(SECTIONS[name]);
}

document.addEventListener("DOMContentLoaded", () => {
  const today = new Date().toISOString().slice(0, 10);
  const form = find("spend-form");
  form.elements.from.value = new Date(Date.now() - 29 * 86400000).toISOString().slice(0, 10);
  form.elements.to.value = today;
  const on = (id, work) => find(id).addEventListener("submit", (event) => {
    event.preventDefault();
    run(work);
  });
  on("spend-form", spend);
  on("quotas-form", quotas);
  on("keys-form", makeKey);
  on("sign-in", async () => {
    sessionStorage.setItem(TOKEN, find("token").value.trim());
    find("token").value = "";
    await SECTIONS[section]();
  });
  find("spend-csv").addEventListener("click", () => run(async () => {
    const text = await ask("GET", spendPath("csv"), undefined, "text");
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "cost.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  }));
  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => show(button.dataset.section));
  }
  const first = location.hash.slice(1);
  show(first in SECTIONS ? first : "traffic");
  setInterval(() => {
    if (section === "traffic" && !document.hidden) run(traffic);
  }, REFRESH_MS);
});

// Golden sets: cases whose good answers are known. Evals ask a version all of them.

import { ask, to } from "./api.js";
import { act, badge, button, empty, field, make, many, place, question, table, time } from "./parts.js";
import { json } from "./document.js";
import { NAME, NAME_RULE } from "./list.js";

const EXAMPLE = [{
  id: "refund", variables: { name: "Ann" }, messages: [{ role: "user", content: "How do I get my money back?" }],
  expected: "within 30 days", judge: { type: "contains" }, weight: 1,
}];
const JUDGES = ["exact", "contains", "regex", "json_schema", "similarity", "llm", "pairwise"];

function checked(text) {
  let cases;
  try { cases = json(text); } catch (error) { throw new Error(`The text ${error.message}.`); }
  if (!Array.isArray(cases)) throw new Error("The cases must be a list: begin with [ and end with ].");
  const seen = new Set();
  cases.forEach((one, place) => {
    if (!one?.id) throw new Error(`Case ${place + 1} needs an id.`);
    if (seen.has(one.id)) throw new Error(`The id “${one.id}” stands twice; each case has its own.`);
    seen.add(one.id);
    if (!JUDGES.includes(one.judge?.type)) throw new Error(`Case “${one.id}” needs a judge whose type is one of ${JUDGES.join(", ")}.`);
  });
  return cases;
}

async function one({ signal, reload }, name) {
  const set = await ask("GET", `/v1/golden/${encodeURIComponent(name)}`, undefined, signal)
    .catch((error) => { if (error.status === 404) return null; throw error; });
  const where = place();
  const text = make("textarea", { class: "code", rows: 18, spellcheck: "false", value: JSON.stringify(set ? set.cases : EXAMPLE, null, 2) });
  const submit = make("button", { type: "submit", class: "main" }, "Save");
  const form = make("form", { class: "card" }, make("h3", {}, name, " ", set ? badge(`version ${set.version}, ${many(set.cases.length, "case")}`, "soft") : badge("○ new", "soft")),
    field("Cases as JSON", text, `Each has an id, the prompt's variables, messages that come after the prompt's own, what is expected, and a judge: ${JUDGES.join(", ")}.`),
    where, make("div", { class: "row end" }, submit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(where, async () => {
      const made = await ask("PUT", `/v1/golden/${encodeURIComponent(name)}`, { cases: checked(text.value), ...(set ? { expected_version: set.version } : {}) });
      await reload(`✓ Version ${made.version} of ${name} is saved: ${many(made.cases.length, "case")}.`);
    }, submit);
  });
  return form;
}

export async function golden(context) {
  const { signal, rest } = context;
  const { data } = await ask("GET", "/v1/golden", undefined, signal);
  const create = button("New golden set", () => question({
    title: "New golden set", confirm: "Begin", fields: [field("Name", make("input", { name: "name", required: true, pattern: NAME, title: NAME_RULE, autocomplete: "off" }), NAME_RULE)],
    work: ({ name }) => { location.hash = to("-", "golden", name); },
  }), { class: "main" });
  const all = data.length
    ? table("", [
      ["Name", (set) => make("a", { href: to("-", "golden", set.name) }, set.name), "name"], ["Version", (set) => set.version, true],
      ["Cases", (set) => set.cases, true], ["Changed", (set) => time(set.updated_ms)],
    ], data)
    : empty(make("p", {}, "There are no golden sets yet. A golden set is a list of questions with what a good answer to each looks like. Every version of a prompt can be asked them, so you see whether it became better or worse."));
  return make("section", { class: "stack", "aria-labelledby": "title" },
    make("div", { class: "part-head" }, make("h2", { id: "title" }, "Golden sets"), create), all, rest[0] ? await one(context, rest[0]) : null);
}

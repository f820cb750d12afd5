// The editor of one prompt: its draft, what the API says about it, and the live preview.

import { ask, at, session, to, versionsOf } from "./api.js";
import { button, choice, find, forbid, lacks, make, many, place, say } from "./parts.js";
import { blank, fromDocument, sample, samples, toDocument, variable } from "./document.js";
import { notes, partials, sampleFields, settings, tools, variables } from "./fields.js";
import { template } from "./template.js";
import { commit } from "./commit.js";

const PAUSE_MS = 400;
const ROLES = [["system", "system"], ["user", "user"], ["assistant", "assistant"]];
const key = (name) => `headwater-draft ${session.team}/${name}`;

// Kept in the tab, so that a reload by accident loses nothing.
function stored(name) {
  try { return JSON.parse(sessionStorage.getItem(key(name))); } catch { return null; }
}
export const hasDraft = (name) => sessionStorage.getItem(key(name)) !== null;
// Prompts that were begun here and are in no list yet, too.
export const drafts = () => Object.keys(sessionStorage).filter((one) => one.startsWith(key(""))).map((one) => one.slice(key("").length));
const discard = (name) => sessionStorage.removeItem(key(name));

// What a new prompt begins with.
const begun = new Map();
export function begin(name, kind) {
  discard(name);
  begun.set(name, kind);
}

async function opened({ name, head, rest, signal }) {
  const kept = stored(name);
  if (kept) return { ...kept, isRestored: true };
  if (!head) return { draft: blank(begun.get(name) || "chat"), base: null, newest: null, samples: {} };
  const base = Number(rest[0]) || head.newest;
  const { document } = await ask("GET", at(name, "versions", base), undefined, signal);
  return { draft: fromDocument(document), base, newest: head.newest, samples: {} };
}

export async function edit(context) {
  const { name, head, rest, signal, reload } = context;
  const work = await opened(context);
  const { draft } = work;
  work.clean ??= JSON.stringify(draft);
  let isDirty = JSON.stringify(draft) !== work.clean;
  let latest = { findings: [], variables: {} };

  const unsaved = make("span", { class: "badge", hidden: !isDirty }, "✎ unsaved");
  const templates = new Map();
  const [output, summary, sampleBox] = [make("div", { class: "output" }), make("div", { role: "status" }), make("div")];
  const elsewhere = notes("");

  const keep = () => (isDirty ? sessionStorage.setItem(key(name), JSON.stringify({ ...work, isRestored: undefined })) : discard(name));
  let timer;
  function changed() {
    isDirty = JSON.stringify(draft) !== work.clean;
    unsaved.hidden = !isDirty;
    keep();
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE_MS);
  }

  // Each note goes to the field that it names, or to the nearest part around it.
  function pin(all) {
    const boxes = [...root.querySelectorAll("[data-field]")];
    for (const box of boxes) { box.replaceChildren(); box.hidden = true; }
    const marks = new Map();
    for (const note of all) {
      let field = note.field || "";
      let box = boxes.find((one) => one.dataset.field === field);
      while (!box && /[.[]/.test(field)) {
        field = field.replace(/[.[][^.[]*$/, "");
        box = boxes.find((one) => one.dataset.field === field);
      }
      const shown = box || elsewhere;
      const exact = shown.dataset.field === note.field;
      const signs = { error: "✗ Error", finding: "⚠ Looks like a secret", warning: "△ Warning" };
      const whole = make("li", { class: note.level }, make("strong", {}, signs[note.level]), note.line ? `, line ${note.line}` : "", ": ", exact ? "" : `${note.field ? `${note.field} ` : ""}`, note.text);
      const name = undeclared(note.text)[0];
      if (name) whole.append(" ", button(`Declare ${name}`, () => declare([name])));
      shown.append(whole);
      shown.hidden = false;
      const line = note.line || Number(/in line (\d+)/.exec(note.text)?.[1]);
      if (line) marks.set(note.field, [...(marks.get(note.field) || []), line]);
    }
    for (const [field, one] of templates) one.mark(marks.get(field) || []);
  }

  const undeclared = (text) => [...text.matchAll(/['“"`]?([A-Za-z_]\w*)['”"`]?,? (?:which )?is not declared/g)].map((match) => match[1]);
  function declare(names) {
    for (const one of names) if (!draft.variables.some(({ name }) => name === one)) draft.variables.push(variable(one));
    lists.variables.fill();
    changed();
  }

  // The API names them one after the other, so it is asked until it names none.
  async function addUsed() {
    const before = draft.variables.length;
    for (let tries = 0; tries < 100; tries++) {
      const { document, wrong } = toDocument(draft);
      if (wrong.length) break;
      const said = await ask("POST", at(name, "check"), { document }, signal).then(({ warnings }) => warnings.join("\n"), (error) => error.message);
      const fresh = undeclared(said).filter((one) => !draft.variables.some(({ name }) => name === one));
      if (!fresh.length) break;
      draft.variables.push(...fresh.map((one) => variable(one)));
    }
    declare([]);
    const added = draft.variables.length - before;
    say(countSaid, added ? `${many(added, "variable")} added.` : "The templates use no variable that is not declared.");
  }

  const toNote = (level) => (one) => {
    if (level === "warning") {
      const [, field, text] = /^([a-z]+(?:[.[][^\s:]*)?): ([^]*)$/.exec(one) || [null, "", one];
      return { level, field, text };
    }
    return { level, field: one.field, line: one.line, text: `${one.description || one.rule} (${one.masked}). Take it out; write {{ secret.NAME }} instead.` };
  };
  const refused = (error, isSample) => {
    const field = isSample && error.param.startsWith("variables.") ? error.param.replace("variables.", "sample.") : error.param;
    const text = error.message.startsWith(error.param) ? error.message.slice(error.param.length).replace(/^[:\s]+/, "") : error.message;
    return { level: "error", field, text };
  };

  let asking = new AbortController();
  async function refresh() {
    asking.abort();
    asking = new AbortController();
    const own = asking.signal;
    signal.addEventListener("abort", () => asking.abort());
    const { document, wrong } = toDocument(draft);
    const isEmpty = draft.kind === "chat" ? draft.messages.every(({ content }) => !content.trim()) : !draft.text.trim();
    if (isEmpty) {
      pin(wrong);
      return settle("Write something; what the model will get appears here.", wrong);
    }
    if (wrong.length) {
      pin(wrong);
      return settle(null, wrong);
    }
    let all = [];
    try {
      latest = await ask("POST", at(name, "check"), { document }, own);
      all = [...latest.findings.map(toNote("finding")), ...latest.warnings.map(toNote("warning"))];
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      latest = { ...latest, findings: [] };
      all = [refused(error)];
      pin(all);
      return settle(null, all);
    }
    fillSamples();
    const given = samples(latest.variables, work.samples);
    if (given.wrong.length) {
      pin([...all, ...given.wrong]);
      return settle(null, given.wrong);
    }
    try {
      const rendered = await ask("POST", at(name, "preview"), { document, variables: given.values }, own);
      pin(all);
      output.replaceChildren(...shown(rendered));
      return settle("", all);
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      const note = refused(error, true);
      pin([...all, note]);
      return settle(null, [...all, note]);
    }
  }

  // null: the last preview is of an earlier text.
  function settle(text, all) {
    output.classList.toggle("stale", text === null);
    output.setAttribute("aria-busy", "false");
    if (text) output.replaceChildren(make("p", { class: "hint" }, text));
    const errors = all.filter(({ level }) => level === "error").length;
    const findings = all.filter(({ level }) => level === "finding").length;
    const warnings = all.filter(({ level }) => level === "warning").length;
    const words = [errors && `✗ ${many(errors, "error")}`, findings && `⚠ ${many(findings, "likely secret")}`, warnings && `△ ${many(warnings, "warning")}`].filter(Boolean);
    const good = text === "" && !words.length ? "✓ Nothing to complain about." : "";
    summary.replaceChildren(make("p", { class: words.length ? "signal" : "signal good" }, words.join(", ") || good),
      text === null ? make("p", { class: "hint" }, "The preview below is of the text before; it goes on when the errors are gone.") : "");
  }

  let sampled = "";
  function fillSamples() {
    const now = JSON.stringify(latest.variables);
    if (now === sampled) return;
    sampled = now;
    const fields = sampleFields(latest.variables, work.samples, sample, changed);
    sampleBox.replaceChildren(...(fields.length ? fields : [make("p", { class: "hint" }, "This prompt has no variables.")]));
  }

  function messages() {
    templates.clear();
    if (draft.kind === "text") {
      const one = template({ label: "Text", field: "text", value: draft.text, input: (value) => { draft.text = value; changed(); } });
      templates.set("text", one);
      return texts.replaceChildren(one.box, notes("text"));
    }
    const cards = draft.messages.map((message, index) => {
      const field = `messages[${index}].content`;
      const label = `message ${index + 1}`;
      const one = template({ label: `Content of ${label}`, field, value: message.content, input: (value) => { message.content = value; changed(); } });
      templates.set(field, one);
      const move = (by, word) => forbid(button(word, () => {
        draft.messages.splice(index + by, 0, ...draft.messages.splice(index, 1));
        messages();
        changed();
        texts.querySelectorAll(".message select")[index + by].focus();
      }, { "aria-label": `Move ${label} ${word.slice(2)}`, title: `Move ${word.slice(2)}` }), draft.messages[index + by] ? "" : "It stands there already.");
      return make("div", { class: "message", role: "group", "aria-label": label },
        make("div", { class: "part-head" }, choice(ROLES, message.role, { "aria-label": `Role of ${label}`, change: (event) => { message.role = event.target.value; changed(); } }),
          make("span", { class: "row" }, move(-1, "↑ up"), move(1, "↓ down"), forbid(button("Remove", () => {
            draft.messages.splice(index, 1);
            messages();
            changed();
          }, { "aria-label": `Remove ${label}` }), draft.messages.length > 1 ? "" : "A chat has at least one message."))),
        one.box, notes(field));
    });
    return texts.replaceChildren(...cards, button("Add a message", () => {
      draft.messages.push({ role: "user", content: "" });
      messages();
      changed();
      texts.querySelector(".message:last-of-type textarea").focus();
    }), notes("messages"));
  }

  const texts = make("div", { class: "texts" });
  const countSaid = place();
  countSaid.classList.add("calm");
  const lists = { variables: variables(draft, changed, addUsed), partials: partials(draft, changed) };
  const kind = choice([["chat", "Chat"], ["text", "Text"]], draft.kind, { id: "kind", change: () => { draft.kind = kind.value; messages(); changed(); } });
  const commitButton = forbid(button("Commit", () => commit({
    ...context, work, draft, findings: latest.findings,
    go: (finding) => templates.get(finding.field)?.go(finding.line || 1, finding.column),
    again: async () => { work.newest = (await ask("GET", at(name))).newest; keep(); },
    drop: () => { discard(name); isDirty = false; },
    kept: keep,
  }), { class: "main" }), lacks(head, "editor"));

  const notice = [];
  if (work.isRestored && isDirty) {
    const older = head && work.base !== head.newest ? ` They began from version ${work.base}; the newest is version ${head.newest}.` : "";
    notice.push(make("p", { class: "note" }, `Your unsaved changes are back.${older} `, button("Discard them", () => { discard(name); isDirty = false; reload(); })));
  } else if (head && work.base !== head.newest) {
    notice.push(make("p", { class: "note" }, `You begin from version ${work.base}; the newest is version ${head.newest}.`));
  }
  const root = make("div", { class: "editor" },
    make("div", { class: "writing" }, ...notice, make("div", { class: "row" }, make("label", { for: "kind" }, "Kind"), kind,
      head ? make("span", { class: "hint" }, `from version ${work.base ?? "–"}`) : null, unsaved),
    texts, lists.variables.box, countSaid, lists.partials.box, tools(draft, changed), settings(draft, changed)),
    make("aside", { class: "preview", "aria-label": "Preview" },
      make("div", { class: "part-head" }, make("h3", {}, "Preview"), commitButton), summary, elsewhere,
      make("details", { open: true }, make("summary", {}, "Sample values"), sampleBox), make("h4", {}, "What the model gets"), output));
  messages();
  refresh();

  const warn = (event) => { if (isDirty) event.preventDefault(); };
  window.addEventListener("beforeunload", warn);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    window.removeEventListener("beforeunload", warn);
  });
  return root;
}

// Where a secret goes is shown as a sign of its own.
function shown(rendered) {
  const text = (content) => content.split(/(\{\{ secret\.[A-Z0-9_]+ \}\})/).map((part, place) => (place % 2 ? make("mark", { title: "The secret's value is put in when it is sent" }, part) : part));
  if (rendered.text !== undefined && rendered.text !== null) return [make("div", { class: "rendered" }, make("pre", {}, ...text(rendered.text)))];
  return rendered.messages.map(({ role, content }) => make("div", { class: "rendered" }, make("p", { class: "role" }, role), make("pre", {}, ...text(content))));
}

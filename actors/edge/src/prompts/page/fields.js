// The editor's lists besides its templates: variables, partials, tools and the model's settings.

import { ask, to } from "./api.js";
import { badge, button, choice, fresh, make, tick } from "./parts.js";
import { TYPES, hasLength, isNumber, variable } from "./document.js";

export const notes = (field) => make("ul", { class: "notes", "data-field": field, hidden: true });

// A labelled control in a row of several.
const cell = (label, control, kind) => {
  control.id ||= fresh();
  return make("div", { class: `cell ${kind || ""}` }, make("label", { for: control.id }, label), control);
};
const input = (owner, key, changed, attributes) => make("input", {
  value: owner[key] || "", autocomplete: "off", spellcheck: "false", input: (event) => { owner[key] = event.target.value; changed(); }, ...attributes });
const area = (owner, key, changed, attributes) => make("textarea", {
  value: owner[key] || "", rows: 2, spellcheck: "false", input: (event) => { owner[key] = event.target.value; changed(); }, ...attributes });

function oneVariable(one, place, draft, changed, again) {
  const about = one.name || `variable ${place + 1}`;
  const own = notes(`variables.${one.name}`);
  const renamed = () => { own.dataset.field = `variables.${one.name}`; changed(); };
  const required = tick("Required", one.required, { "aria-label": `${about} is required`, change: (event) => { one.required = event.target.checked; again(); } });
  const type = choice(TYPES, one.type, { change: (event) => { one.type = event.target.value; again(); } });
  const without = one.type === "boolean"
    ? choice([["true", "yes"], ["false", "no"]], one.default === "true" ? "true" : "false", { change: (event) => { one.default = event.target.value; changed(); } })
    : input(one, "default", changed, { class: one.type === "string" ? "" : "mono" });
  if (one.type === "boolean" && !one.required && one.default !== "true") one.default = "false";
  const bound = (key, label) => cell(label, input(one, key, changed, { inputmode: "decimal", class: "short" }));
  return make("div", { class: "item", role: "group", "aria-label": about },
    make("div", { class: "cells" },
      cell("Name", input(one, "name", renamed, { class: "mono", maxlength: 64 })), cell("Type", type),
      !one.required && cell("Default", without),
      hasLength(one.type) && bound("max_length", one.type === "string" ? "Most characters" : "Most entries"),
      isNumber(one.type) && bound("min", "Least"), isNumber(one.type) && bound("max", "Most"),
      make("div", { class: "cell" }, required),
      make("div", { class: "cell buttons" }, button("Remove", () => { draft.variables.splice(place, 1); again(); }, { "aria-label": `Remove ${about}` }))),
    make("details", { open: one.description || one.values ? true : null }, make("summary", {}, "Description and allowed values"),
      make("div", { class: "cells" }, cell("Description", input(one, "description", changed, { spellcheck: "true" }), "grow"),
        cell("Only these values, one a line", area(one, "values", changed), "grow"))),
    own);
}

export function variables(draft, changed, addUsed) {
  const box = make("section", { class: "part", "aria-label": "Variables" });
  const again = () => { fill(); changed(); };
  function fill() {
    box.replaceChildren(...[make("div", { class: "part-head" }, make("h3", {}, "Variables"),
      button("Add variables used in templates", addUsed), button("Add a variable", () => {
        draft.variables.push(variable(""));
        again();
        box.querySelector(".item:last-of-type input").focus();
      })),
    draft.variables.length ? null : make("p", { class: "hint" }, "What changes from request to request, such as a customer's name. Write {{ name }} in a template, then add it here."),
    ...draft.variables.map((one, place) => oneVariable(one, place, draft, changed, again)), notes("variables")].filter(Boolean));
  }
  fill();
  return { box, fill };
}

export function partials(draft, changed) {
  const body = make("div");
  const box = folded("Partials", draft.partials.length > 0, body);
  const again = () => { fill(); changed(); };
  const names = make("datalist", { id: fresh() });
  // Names to choose from; typing works without them.
  ask("GET", "/v1/prompts?limit=200").then(({ data }) => names.append(...data.map((head) => make("option", { value: head.name })))).catch(() => {});
  function fill() {
    const items = draft.partials.map((one, place) => {
      const own = notes(`partials.${one.name}`);
      const tag = make("code");
      const renamed = () => {
        own.dataset.field = `partials.${one.name}`;
        tag.textContent = `{% include "${one.name || "name"}" %}`;
        changed();
      };
      tag.textContent = `{% include "${one.name || "name"}" %}`;
      return make("div", { class: "item", role: "group", "aria-label": one.name || `partial ${place + 1}` },
      make("div", { class: "cells" }, cell("Name here", input(one, "name", renamed, { class: "mono" })),
        cell("Prompt", input(one, "prompt", changed, { list: names.id, class: "mono" }), "grow"),
        cell("Version", input(one, "version", changed, { inputmode: "numeric", class: "short" })),
        make("div", { class: "cell buttons" }, button("Remove", () => { draft.partials.splice(place, 1); again(); }, { "aria-label": `Remove partial ${one.name}` }))),
      make("p", { class: "hint" }, "Write ", tag, " where it goes. ",
        one.prompt && make("a", { href: to(one.prompt, "versions") }, `Look at ${one.prompt}`)), own);
    });
    body.replaceChildren(make("p", { class: "hint" }, "Text of another prompt, at one version for good. Only prompts of the kind text can be used."),
      ...items, button("Add a partial", () => { draft.partials.push({ name: "", prompt: "", version: "1" }); again(); }), names, notes("partials"));
  }
  fill();
  return { box, fill };
}

const TOOL = `[
  {
    "name": "find_order",
    "description": "Finds an order by its number",
    "parameters": {
      "type": "object",
      "properties": { "number": { "type": "string" } },
      "required": ["number"]
    }
  }
]`;

export function tools(draft, changed) {
  const text = make("textarea", { class: "code", rows: draft.tools ? Math.min(draft.tools.split("\n").length + 1, 24) : 4, spellcheck: "false", value: draft.tools,
    input: () => { draft.tools = text.value; changed(); } });
  const example = button("Put an example in", () => {
    if (draft.tools.trim()) return;
    draft.tools = text.value = TOOL;
    text.rows = 14;
    changed();
  });
  return folded("Tools", draft.tools !== "", make("p", { class: "hint" }, "Functions that the model may call, as a JSON list."),
    cell("Tools as JSON", text), make("div", { class: "row" }, example), notes("tools"));
}

const FORMATS = [["", "as the model likes"], ["json_object", "JSON"], ["own", "written below"]];

export function settings(draft, changed) {
  const { model } = draft;
  const names = make("datalist", { id: fresh() });
  ask("GET", "/v1/models").then(({ data }) => names.append(...data.map((one) => make("option", { value: one.id })))).catch(() => {});
  const format = area(model, "response_format", changed, { class: "code", rows: 5 });
  const own = cell("Format as JSON", format, "grow");
  const kind = () => (!(model.response_format || "").trim() ? "" : model.response_format.replace(/\s/g, "") === '{"type":"json_object"}' ? "json_object" : "own");
  const choose = choice(FORMATS, kind(), { change: () => {
    model.response_format = format.value = choose.value === "" ? "" : choose.value === "json_object" ? '{"type":"json_object"}' : '{\n  "type": "json_schema",\n  "json_schema": {\n    "name": "answer",\n    "schema": { "type": "object" }\n  }\n}';
    own.hidden = choose.value !== "own";
    changed();
  } });
  own.hidden = kind() !== "own";
  const one = (key, label, hint) => cell(label, input(model, key, changed, { inputmode: "decimal", placeholder: hint, class: "middle" }));
  return folded("Model settings", Object.values(model).some(Boolean), make("p", { class: "hint" }, "What a request says itself goes before these. Left empty, the gateway's own settings count."),
    make("div", { class: "cells" }, cell("Model", input(model, "model", changed, { list: names.id }), "grow"), names,
      one("temperature", "Temperature", "0 to 2"), one("top_p", "Top p", "0 to 1"), one("max_tokens", "Most tokens", "no limit"), one("seed", "Seed", "none")),
    make("div", { class: "cells" }, cell("Stop at these texts, one a line", area(model, "stop", changed), "grow"), cell("Answer's format", choose)), own, notes("model"));
}

function folded(title, isOpen, ...children) {
  return make("details", { class: "part", open: isOpen ? true : null }, make("summary", {}, make("h3", {}, title)), ...children);
}

// The values that the preview is made with. Fields that stay keep the cursor.
export function sampleFields(variables, texts, suggest, changed) {
  return Object.entries(variables).map(([name, given]) => {
    const type = given.type || "string";
    const value = texts[name] ?? suggest(name, given);
    const attributes = { "data-sample": name, spellcheck: "false", autocomplete: "off" };
    const typed = (event) => { texts[name] = event.target.value; changed(); };
    const optional = given.default !== undefined && given.default !== null;
    let control;
    if (given.values?.length || type === "boolean") {
      const values = type === "boolean" ? ["true", "false"] : given.values.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
      control = choice([...(optional ? [["", "the default"]] : []), ...values.map((one) => [one, one])], value, { ...attributes, change: typed });
    } else {
      const long = type === "string" || type === "list" || type === "object";
      control = make(long ? "textarea" : "input", { ...attributes, rows: long ? 1 : null, value, input: typed, placeholder: optional ? `default: ${typeof given.default === "string" ? given.default : JSON.stringify(given.default)}` : "" });
    }
    control.id = fresh();
    return make("div", { class: "field" }, make("label", { for: control.id }, make("code", {}, name), optional ? badge("optional", "soft") : null), control, notes(`sample.${name}`));
  });
}

// A prompt's document, between what the API takes and what somebody is just typing. Everything typed
// is kept as text, so that half a number or half an object survives until it is whole.

export const TYPES = [["string", "text"], ["integer", "whole number"], ["number", "number"], ["boolean", "yes or no"], ["list", "list"], ["object", "object"]];
export const isNumber = (type) => type === "integer" || type === "number";
export const hasLength = (type) => type === "string" || type === "list";

export function blank(kind) {
  return { kind, messages: [{ role: "system", content: "" }], text: "", variables: [], partials: [], tools: "", model: {} };
}

export const variable = (name, given = {}) => ({
  name, type: given.type || "string", description: given.description || "", required: given.default === undefined,
  default: given.default === undefined ? "" : toText(given.type, given.default),
  max_length: shown(given.max_length), min: shown(given.min), max: shown(given.max),
  values: (given.values || []).map((value) => toText(given.type, value)).join("\n"),
});

const shown = (value) => (value === undefined || value === null ? "" : String(value));

export function toText(type, value) {
  return typeof value === "string" && (type || "string") === "string" ? value : JSON.stringify(value);
}

// A typed text as a value, or an error in words.
export function toValue(type, text) {
  if (type === "string") return text;
  const trimmed = text.trim();
  if (isNumber(type)) {
    const value = Number(trimmed);
    if (trimmed === "" || !Number.isFinite(value)) throw new Error("must be a number");
    if (type === "integer" && !Number.isInteger(value)) throw new Error("must be a whole number");
    return value;
  }
  let value;
  try {
    value = JSON.parse(trimmed);
  } catch (error) {
    const example = { boolean: "true or false", list: 'a list such as ["a", "b"]', object: 'an object such as {"a": 1}' }[type];
    throw new Error(`must be ${example}`);
  }
  const fits = { boolean: typeof value === "boolean", list: Array.isArray(value), object: isObject(value) }[type];
  if (!fits) throw new Error(`must be ${{ boolean: "true or false", list: 'a list such as ["a", "b"]', object: 'an object such as {"a": 1}' }[type]}`);
  return value;
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function fromDocument(document) {
  const model = document.model || {};
  return {
    kind: document.text === undefined || document.text === null ? "chat" : "text",
    messages: (document.messages || []).length ? document.messages.map(({ role, content }) => ({ role, content })) : blank("chat").messages,
    text: document.text || "",
    variables: Object.entries(document.variables || {}).map(([name, given]) => variable(name, given)),
    partials: Object.entries(document.partials || {}).map(([name, { prompt, version }]) => ({ name, prompt, version: String(version) })),
    tools: (document.tools || []).length ? JSON.stringify(document.tools, null, 2) : "",
    model: {
      model: model.model || "", temperature: shown(model.temperature), top_p: shown(model.top_p),
      max_tokens: shown(model.max_tokens), seed: shown(model.seed), stop: (model.stop || []).join("\n"),
      response_format: model.response_format ? JSON.stringify(model.response_format, null, 2) : "",
    },
  };
}

// Where a text stops being JSON, in words; browsers tell it differently, so only what they share is used.
export function json(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const at = /position (\d+)/.exec(error.message);
    const line = at ? ` near line ${text.slice(0, Number(at[1])).split("\n").length}` : "";
    throw new Error(`is not JSON${line}: look for a missing comma, quote or bracket`);
  }
}

// The document, and what is wrong already before it is sent: { field, text } each.
export function toDocument(draft) {
  const wrong = [];
  const take = (field, work) => {
    try { return work(); } catch (error) { wrong.push({ field, level: "error", text: error.message }); return undefined; }
  };
  const document = draft.kind === "chat" ? { messages: draft.messages.map(({ role, content }) => ({ role, content })) } : { text: draft.text };
  const variables = {};
  for (const one of draft.variables) {
    const field = `variables.${one.name}`;
    if (!one.name) wrong.push({ field: "variables", level: "error", text: "A variable has no name; give it one, or remove it." });
    else if (one.name in variables) wrong.push({ field, level: "error", text: "stands twice; each variable has a name of its own" });
    else variables[one.name] = declared(one, field, take);
  }
  if (draft.variables.length) document.variables = variables;
  const partials = {};
  for (const one of draft.partials) {
    const field = `partials.${one.name}`;
    if (!one.name || !one.prompt || !/^\d+$/.test(one.version)) wrong.push({ field: one.name ? field : "partials", level: "error", text: "A partial needs a name, a prompt and a version." });
    else if (one.name in partials) wrong.push({ field, level: "error", text: "stands twice; each partial has a name of its own" });
    else partials[one.name] = { prompt: one.prompt, version: Number(one.version) };
  }
  if (draft.partials.length) document.partials = partials;
  if (draft.tools.trim()) document.tools = take("tools", () => tools(draft.tools));
  const model = settings(draft.model, take);
  if (Object.keys(model).length) document.model = model;
  return { document, wrong };
}

function declared(one, field, take) {
  const made = { type: one.type };
  if (one.description.trim()) made.description = one.description.trim();
  if (!one.required) made.default = take(`${field}.default`, () => toValue(one.type, one.default));
  if (hasLength(one.type) && one.max_length.trim()) made.max_length = take(`${field}.max_length`, () => toValue("integer", one.max_length));
  for (const key of ["min", "max"]) {
    if (isNumber(one.type) && one[key].trim()) made[key] = take(`${field}.${key}`, () => toValue("number", one[key]));
  }
  const values = one.values.split("\n").filter((line) => line.trim());
  if (values.length) made.values = take(`${field}.values`, () => values.map((line) => toValue(one.type, line.trim())));
  return made;
}

function tools(text) {
  const given = json(text);
  if (!Array.isArray(given)) throw new Error("must be a list of tools: begin with [ and end with ]");
  given.forEach((tool, place) => {
    if (!isObject(tool)) throw new Error(`tool ${place + 1} must be an object with name, description and parameters`);
    if (typeof tool.name !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(tool.name)) throw new Error(`tool ${place + 1} needs a name of 1 to 64 letters, digits, “_” and “-”`);
    if (!isObject(tool.parameters)) throw new Error(`tool “${tool.name}” needs parameters: a JSON schema of an object`);
  });
  return given;
}

function settings(given, take) {
  const made = {};
  const text = (key) => (given[key] || "").trim();
  if (text("model")) made.model = text("model");
  for (const [key, type] of [["temperature", "number"], ["top_p", "number"], ["max_tokens", "integer"], ["seed", "integer"]]) {
    if (text(key)) made[key] = take(`model.${key}`, () => toValue(type, text(key)));
  }
  const stop = (given.stop || "").split("\n").filter((line) => line !== "");
  if (stop.length) made.stop = stop;
  if (text("response_format")) made.response_format = take("model.response_format", () => {
    const value = json(text("response_format"));
    if (!isObject(value)) throw new Error("must be an object");
    return value;
  });
  return made;
}

// Something to look at in the preview until somebody types a better one.
export function sample(name, given) {
  if (given.default !== undefined && given.default !== null) return "";
  if (given.values?.length) return toText(given.type, given.values[0]);
  const type = given.type || "string";
  if (isNumber(type)) return String(given.min ?? Math.min(1, given.max ?? 1));
  return { string: name.replaceAll("_", " ").slice(0, given.max_length ?? 64), boolean: "true", list: '["first", "second"]', object: "{}" }[type];
}

// The variables of a preview: a field left empty is not given, so its default counts.
export function samples(variables, texts) {
  const [values, wrong] = [{}, []];
  for (const [name, given] of Object.entries(variables)) {
    const text = texts[name] ?? sample(name, given);
    if (text === "") continue;
    try { values[name] = toValue(given.type || "string", text); } catch (error) { wrong.push({ field: `sample.${name}`, level: "error", text: error.message }); }
  }
  return { values, wrong };
}

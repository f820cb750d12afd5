// The parts that every view is made of: elements, tables, fields, dialogs, numbers and times.

export const find = (id) => document.getElementById(id);

export function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (key === "value") node.value = value;
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  node.append(...shown.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

export const count = (value) => Number(value || 0).toLocaleString("en");
export const usd = (micro) => `$${(Number(micro || 0) / 1e6).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 })}`;
export const ms = (value) => (value === null || value === undefined ? "–" : `${count(Math.round(value))} ms`);
export const percent = (perMille) => `${(perMille / 10).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
export const score = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 3 }));
export const number = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumSignificantDigits: 3 }));
export const many = (amount, one, several) => `${count(amount)} ${amount === 1 ? one : several || `${one}s`}`;

// Local for the reader; its title is in UTC, for talking about it with others.
export function time(value) {
  if (!value) return "–";
  const date = new Date(value);
  const utc = date.toISOString();
  return make("time", { datetime: utc, title: `${utc.slice(0, 19).replace("T", " ")} UTC` },
    date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
}

export function problem(text) {
  const line = find("problem");
  line.textContent = text || "";
  line.hidden = !text;
}

// Something went well; told until the next view.
export function told(...children) {
  const line = find("told");
  line.replaceChildren(...children);
  line.hidden = children.length === 0;
}

// A line for what went wrong, near what caused it.
export const place = () => make("p", { class: "said", role: "alert", hidden: true });

export function say(where, ...children) {
  where.replaceChildren(...children);
  where.hidden = children.length === 0 || children[0] === "";
}

// Does what a person asked for. A second press before the end does nothing.
export async function act(where, work, pressed) {
  if (pressed?.getAttribute("aria-busy") === "true") return false;
  pressed?.setAttribute("aria-busy", "true");
  say(where);
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") say(where, ...inWords(error));
    return false;
  } finally {
    pressed?.removeAttribute("aria-busy");
  }
}

// A conflict offers what to do about it.
export function inWords(error) {
  const wait = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
  if (error.status !== 409) return [error.message + wait];
  const reload = make("button", { type: "button", click: () => window.dispatchEvent(new HashChangeEvent("hashchange")) }, "Reload");
  return [`${error.message} `, reload];
}

export function button(text, work, attributes) {
  return make("button", { type: "button", click: (event) => work(event.currentTarget), ...attributes }, text);
}

// A button that cannot be used now stays reachable, so that everybody can find out why.
export function forbid(node, reason) {
  if (!reason) return node;
  node.setAttribute("aria-disabled", "true");
  node.title = reason;
  node.setAttribute("aria-description", reason);
  node.addEventListener("click", (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    // Where nothing hovers, a press tells the reason.
    if (!node.nextElementSibling?.matches(".reason")) node.after(make("span", { class: "hint reason", role: "status" }, reason));
  }, { capture: true });
  return node;
}

const STANDINGS = ["viewer", "editor", "promoter", "admin"];
// Why a role may not do this; nothing when it may. A prompt that is not there yet has no role: the API judges.
export function lacks(head, needed) {
  if (!head?.role || STANDINGS.indexOf(head.role) >= STANDINGS.indexOf(needed)) return "";
  return `This needs the role ${needed}; yours is ${head.role}. An admin can change it under “Access”.`;
}
export const ROLES = STANDINGS.map((name) => [name, name]);

let serial = 0;
export const fresh = () => `part-${++serial}`;

// A control with its label, and a hint that is read out with it.
export function field(label, control, hint, kind) {
  control.id ||= fresh();
  const box = make("div", { class: `field ${kind || ""}` }, make("label", { for: control.id }, label), control);
  if (hint) {
    const id = fresh();
    box.append(make("p", { class: "hint", id }, hint));
    control.setAttribute("aria-describedby", id);
  }
  return box;
}

export function choice(options, value, attributes) {
  const node = make("select", attributes, ...options.map(([key, label]) => make("option", { value: key }, label)));
  if (value !== null && value !== undefined) node.value = String(value);
  return node;
}

export function tick(label, checked, attributes) {
  const box = make("input", { type: "checkbox", ...attributes });
  box.checked = checked;
  return make("label", { class: "tick" }, box, label);
}

// A table; a column is a title, a function of a row, and a class (true is a number's).
export function table(caption, columns, rows, empty) {
  const kind = (given) => (given === true ? "number" : given || null);
  const head = columns.map(([title, , given]) => make("th", { scope: "col", class: kind(given) }, title));
  const line = (row) => make("tr", {}, ...columns.map(([title, cell, given]) => {
    const shown = cell(row);
    return make("td", { class: kind(given), "data-label": title }, title && (shown === null || shown === undefined || shown === "") ? "–" : shown);
  }));
  if (rows.length === 0) return make("div", { class: "table" }, caption && make("p", { class: "caption" }, caption), make("p", { class: "empty" }, empty || "nothing yet"));
  return make("div", { class: "table" }, make("table", {}, caption && make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows.map(line))));
}

export const badge = (text, kind, title) => make("span", { class: `badge ${kind || ""}`, title }, text);

// What a version is now, as a sign with its word.
export function state(name) {
  const signs = { production: ["● production", "good"], staging: ["◐ staging", "one"], draft: ["○ draft", "soft"], archived: ["◌ archived", "soft"] };
  const [text, kind] = signs[name] || [name, "soft"];
  return badge(text, kind);
}

export const hash = (value) => make("code", { title: value }, String(value || "").slice(0, 10));
export const version = (value) => (value === null || value === undefined ? "–" : `version ${value}`);

// A question in a dialog. `work` gets the fields' values; its error is told in the dialog.
export function question({ title, text, fields = [], confirm, work }) {
  const where = place();
  const form = make("form", {}, make("h2", {}, title), text && make("p", {}, text), ...fields, where,
    make("div", { class: "row end" }, button("Cancel", () => dialog.close()), make("button", { type: "submit", class: "main" }, confirm)));
  const dialog = make("dialog", { "aria-label": title, close: () => dialog.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()]));
    if (await act(where, () => work(values), form)) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export const reasonField = (hint) => field("Reason", make("textarea", { name: "reason", rows: 2, required: true, maxlength: 1000 }), hint || "Others read it in the history.");

// Again and again until the view is left; not while nobody looks.
export function every(period, signal, work) {
  const timer = setInterval(() => { if (!document.hidden) work(); }, period);
  signal.addEventListener("abort", () => clearInterval(timer));
}

// At the end of a whole word, as far as it fits.
export function short(text, most) {
  if (!text || text.length <= most) return text || "";
  return `${text.slice(0, most).replace(/\s+\S*$/, "")}…`;
}
// How a version is called in a list to choose from.
export const option = (one) => [one.version, `${one.version} – ${one.state}${one.message ? `: ${short(one.message, 48)}` : ""}`];

export const empty = (...children) => make("div", { class: "empty card" }, ...children);
export const list = (text) => String(text || "").split(",").map((one) => one.trim()).filter(Boolean);

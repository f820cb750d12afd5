// The form in which an experiment is planned. What is wrong is told at its field, before it is sent.

import { ask, at, to } from "./api.js";
import { act, button, choice, field, forbid, fresh, lacks, list, make, place } from "./parts.js";
import { NAME, NAME_RULE } from "./list.js";

const pattern = new RegExp(`^${NAME}$`);
const text = (value, attributes) => make("input", { value, autocomplete: "off", spellcheck: "false", ...attributes });
const amount = (value, attributes) => make("input", { type: "number", value, class: "short", ...attributes });

// Items of one kind, each with what it says and a button to take it away.
function several(title, hint, add, least, first) {
  const items = [];
  const box = make("div", { class: "stack" });
  const put = (item) => {
    const remove = button("Remove", () => {
      if (items.length <= least) return;
      items.splice(items.indexOf(item), 1);
      fill();
    });
    item.box.append(make("div", { class: "cell buttons" }, remove));
    items.push(item);
    fill();
  };
  function fill() {
    items.forEach((item, at_) => {
      const remove = item.box.querySelector(".buttons");
      remove.firstElementChild.setAttribute("aria-label", `Remove ${title.toLowerCase()} ${at_ + 1}`);
      remove.hidden = items.length <= least;
    });
    box.replaceChildren(...items.map((item) => item.box));
  }
  for (const given of first) put(add(...given));
  const whole = make("fieldset", {}, make("legend", {}, title), hint ? make("p", { class: "hint" }, hint) : null, box,
    make("div", { class: "row" }, button("Add", () => { put(add()); items.at(-1).box.querySelector("input").focus(); }, { "aria-label": `Add to ${title.toLowerCase()}` })));
  return { whole, items };
}

export function planning({ name, head, signal }, versions) {
  const where = place();
  const options = versions.map((one) => [one.version, `${one.version} – ${one.state}`]);
  const newest = versions[0].version;
  const controlVersion = head.production || versions.at(-1).version;
  const challenger = newest === controlVersion ? (versions.find((one) => one.version !== controlVersion)?.version ?? newest) : newest;
  const group = fresh();

  const called = text("", { required: true, placeholder: "such as warm-greeting" });
  const unit = choice([["user", "user: everybody always gets the same"], ["request", "request: every request anew"]], "user");
  const days = amount("14", { min: 1, max: 90, required: true });
  const holdout = amount("0", { min: 0, max: 50, step: 0.1 });
  const layer = text("");
  const [from, until] = [amount("0", { min: 0, max: 10000 }), amount("10000", { min: 0, max: 10000 })];
  const owner = text("");

  const variants = several("Variants", "Users are divided by weight; the control is what the others are compared with.", (given = "", version = newest, isControl = false) => {
    const item = { name: text(given, { required: true }), version: choice(options, version), weight: amount("1", { min: 1, max: 1000, required: true }), control: make("input", { type: "radio", name: group }) };
    item.control.checked = isControl;
    item.box = make("div", { class: "cells item" }, field("Name", item.name, "", "grow"), field("Version", item.version), field("Weight", item.weight), make("label", { class: "tick" }, item.control, "Control"));
    return item;
  }, 2, [["control", controlVersion, true], ["b", challenger, false]]);
  const goals = several("Goals", "What your program tells with feedback, such as a thumb up.", (given = "") => {
    const item = { name: text(given, { required: true }), kind: choice([["binary", "yes or no"], ["number", "a number"]], "binary", { change: () => show() }), min: amount("", { step: "any" }), max: amount("", { step: "any" }) };
    const bounds = [field("Least", item.min), field("Most", item.max)];
    const show = () => { for (const bound of bounds) bound.hidden = item.kind.value !== "number"; };
    show();
    item.box = make("div", { class: "cells item" }, field("Name", item.name, "", "grow"), field("Kind", item.kind), ...bounds);
    return item;
  }, 1, [["thumbs_up"]]);
  const segments = several("Only some users", "All users take part while there is none here.", () => {
    const item = { attribute: text("", { required: true, placeholder: "plan" }), values: text("", { required: true, placeholder: "pro, team" }) };
    item.box = make("div", { class: "cells item" }, field("Attribute", item.attribute), field("Values, separated by commas", item.values, "", "grow"));
    return item;
  }, 0, []);

  // Says what is wrong at the field; true when nothing is.
  function check() {
    const wrong = [];
    const mark = (input, problem) => {
      const box = input.closest(".field, .tick, fieldset");
      box.querySelector(":scope > .said")?.remove();
      input.removeAttribute("aria-invalid");
      if (!problem) return;
      const line = make("p", { class: "said", id: fresh() }, problem);
      box.append(line);
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", line.id);
      wrong.push(input);
    };
    const named = (input) => (pattern.test(input.value.trim()) ? "" : `A name has ${NAME_RULE}`);
    const unique = (items) => items.forEach((item, at_) => mark(item.name, named(item.name)
      || (items.findIndex((other) => other.name.value.trim() === item.name.value.trim()) < at_ ? "This name stands twice." : "")));
    const within = (input, least, most, isWhole) => {
      const value = Number(input.value);
      const isGood = input.value !== "" && value >= least && value <= most && (!isWhole || Number.isInteger(value));
      mark(input, isGood ? "" : `Must be ${isWhole ? "a whole number, " : ""}${least} to ${most}.`);
    };
    mark(called, named(called));
    unique(variants.items);
    unique(goals.items);
    for (const item of variants.items) within(item.weight, 1, 1000, true);
    const distinct = new Set(variants.items.map((item) => item.version.value)).size;
    mark(variants.items[0].version, distinct > 1 ? "" : "All variants have the same version; choose another one for one of them.");
    mark(variants.items[0].control, variants.items.some((item) => item.control.checked) ? "" : "Choose the control.");
    within(days, 1, 90, true);
    within(holdout, 0, 50);
    mark(layer, layer.value.trim() ? named(layer) : "");
    mark(from, Number(from.value) < Number(until.value) ? "" : "Must be below the end.");
    for (const item of goals.items) {
      const isOff = item.kind.value === "number" && item.min.value !== "" && item.max.value !== "" && Number(item.min.value) >= Number(item.max.value);
      mark(item.min, isOff ? "Must be below the most." : "");
    }
    for (const item of segments.items) {
      mark(item.attribute, item.attribute.value.trim() ? "" : "Name an attribute, such as plan.");
      mark(item.values, list(item.values.value).length ? "" : "Give at least one value.");
    }
    if (wrong.length) {
      wrong[0].closest("details")?.setAttribute("open", "");
      wrong[0].focus();
    }
    return wrong.length === 0;
  }

  function body() {
    const optional = (input) => (input.value === "" ? undefined : Number(input.value));
    return {
      name: called.value.trim(), unit: unit.value, days: Number(days.value), holdout_per_mille: Math.round(Number(holdout.value) * 10),
      variants: variants.items.map((item) => ({ name: item.name.value.trim(), version: Number(item.version.value), weight: Number(item.weight.value) })),
      control: variants.items.find((item) => item.control.checked).name.value.trim(),
      segments: segments.items.map((item) => ({ attribute: item.attribute.value.trim(), values: list(item.values.value) })),
      goals: goals.items.map((item) => ({ name: item.name.value.trim(), kind: item.kind.value, ...(item.kind.value === "number" ? { min: optional(item.min), max: optional(item.max) } : {}) })),
      ...(layer.value.trim() ? { layer: layer.value.trim(), share: [Number(from.value), Number(until.value)] } : {}),
      ...(owner.value.trim() ? { owner: owner.value.trim() } : {}),
    };
  }

  const submit = forbid(make("button", { type: "submit", class: "main" }, "Start the experiment"), lacks(head, "promoter"));
  const form = make("form", { class: "card", id: "plan", novalidate: true }, make("h3", {}, "New experiment"), field("Name", called, NAME_RULE), variants.whole, goals.whole,
    make("div", { class: "cells" }, field("Divided by", unit, "", "grow"), field("Days", days, "1 to 90"), field("Owner", owner)), segments.whole,
    make("details", {}, make("summary", {}, "Several experiments at once"),
      make("div", { class: "cells" }, field("Layer", layer, "Experiments of one layer never share a user."), field("From place", from), field("To place", until, "of 10000 in the layer"), field("Kept out, in per cent", holdout, "Users who get no change at all."))),
    where, make("div", { class: "row end" }, submit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!check()) return;
    act(where, async () => {
      const begun = await ask("POST", at(name, "experiments"), body(), signal);
      location.hash = to(name, "experiments", begun.name);
    }, submit);
  });
  return form;
}

// What a prompt's versions must pass, who may copy it; and the team's roles.

import { ask, at, to } from "./api.js";
import { ROLES, act, button, choice, field, forbid, fresh, lacks, make, place, tick } from "./parts.js";

const numeric = (value, attributes) => make("input", { type: "number", value: String(value), required: true, class: "middle", ...attributes });

export async function settings({ name, head, signal, reload }) {
  const { gates } = head;
  const { data: sets } = await ask("GET", "/v1/golden", undefined, signal);
  const where = place();
  const set = choice([["", "none: no evals"], ...sets.map((one) => [one.name, `${one.name} (${one.cases} cases)`])], gates.golden_set || "");
  // A set that was taken away meanwhile is still what is set.
  if (gates.golden_set && !sets.some((one) => one.name === gates.golden_set)) {
    set.append(make("option", { value: gates.golden_set }, `${gates.golden_set} (not there)`));
    set.value = gates.golden_set;
  }
  const least = numeric(gates.min_score, { min: 0, max: 1, step: 0.01 });
  const fast = numeric(gates.fast_cases, { min: 1, max: 20 });
  const guard = numeric(gates.guard_ms / 60000, { min: 0, max: 1440, step: "any" });
  const shadow = gates.shadow || { samples: 50, per_mille: 100, budget_micro_usd: 1000000 };
  const samples = numeric(shadow.samples, { min: 1, max: 10000 });
  const share = numeric(shadow.per_mille / 10, { min: 0.1, max: 100, step: 0.1 });
  const budget = numeric(shadow.budget_micro_usd / 1e6, { min: 0, step: "any" });
  const beside = make("div", { class: "cells", hidden: !gates.shadow }, field("Requests to answer", samples), field("Share of requests in per cent", share), field("Budget in US dollars", budget));
  const withShadow = tick("Run a version beside production first (shadow traffic)", Boolean(gates.shadow), { change: (event) => {
    beside.hidden = !event.target.checked;
    for (const one of beside.querySelectorAll("input")) one.disabled = beside.hidden;
  } });
  for (const one of beside.querySelectorAll("input")) one.disabled = beside.hidden;
  const isProtected = tick("Protected: whoever wrote a version may not promote it", head.protected);
  const isShared = tick("Shared: other teams may copy it", head.shared);
  const isOn = (label) => label.querySelector("input").checked;
  const submit = forbid(make("button", { type: "submit", class: "main" }, "Save"), lacks(head, "admin"));
  const form = make("form", { class: "card", id: "settings" }, make("h3", {}, "Gates"),
    make("p", { class: "hint" }, "What a version must pass before it is served. They count for promotions that begin from now on."),
    make("div", { class: "cells" }, field("Golden set", set, "Cases whose good answers are known."), field("Least score, 0 to 1", least), field("Cases of the fast eval", fast, "1 to 20"),
      field("Guard after promotion, in minutes", guard, "0 watches none; at most a day, 1440.")),
    make("p", { class: "hint" }, make("a", { href: to("-", "golden") }, "Golden sets"), " are made and changed on their own page."),
    withShadow, beside, make("h3", {}, "Who may what"), isProtected, isShared, where, make("div", { class: "row end" }, submit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(where, async () => {
      await ask("PUT", at(name, "settings"), {
        gates: {
          golden_set: set.value || null, min_score: Number(least.value), fast_cases: Number(fast.value), guard_ms: Math.round(Number(guard.value) * 60000),
          live_judge: gates.live_judge || null,
          shadow: isOn(withShadow) ? { samples: Number(samples.value), per_mille: Math.round(Number(share.value) * 10), budget_micro_usd: Math.round(Number(budget.value) * 1e6) } : null,
        },
        protected: isOn(isProtected), shared: isOn(isShared),
      });
      await reload("✓ The settings are saved.");
    }, submit);
  });
  return form;
}

const MAY = {
  viewer: "reads prompts and uses them", editor: "also commits versions, runs evals and starts promotions",
  promoter: "also promotes, takes back, and runs experiments", admin: "also sets gates, protection and roles",
};

export async function access({ signal, reload }) {
  const [given, { data: heads }] = await Promise.all([ask("GET", "/v1/prompt-access", undefined, signal), ask("GET", "/v1/prompts?limit=1", undefined, signal)]);
  const where = place();
  const others = choice(ROLES, given.default);
  const rows = make("div", { class: "stack", id: "roles" });
  const row = (user, role) => {
    const name = make("input", { value: user, required: true, autocomplete: "off", spellcheck: "false", class: "user", id: fresh() });
    const standing = choice(ROLES, role, { class: "role", id: fresh() });
    const item = make("div", { class: "cells item" }, field("User", name, "", "grow"), field("Role", standing), make("div", { class: "cell buttons" }, button("Remove", () => item.remove(), { "aria-label": `Remove ${user || "this user"}` })));
    return item;
  };
  rows.append(...Object.entries(given.roles).sort().map(([user, role]) => row(user, role)));
  const submit = forbid(make("button", { type: "submit", class: "main" }, "Save"), lacks(heads[0], "admin"));
  const form = make("form", { class: "card", id: "access" }, make("h3", {}, "Roles"), field("Everybody who is not named below", others), rows,
    button("Add a user", () => {
      rows.append(row("", "editor"));
      rows.lastElementChild.querySelector("input").focus();
    }), where, make("div", { class: "row end" }, submit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(where, async () => {
      const named = [...rows.children].map((one) => [one.querySelector(".user").value.trim(), one.querySelector(".role").value]);
      const twice = named.find(([user], place) => named.findIndex(([other]) => other === user) !== place);
      if (twice) throw new Error(`${twice[0]} stands twice; remove one of them.`);
      await ask("PUT", "/v1/prompt-access", { default: others.value, roles: Object.fromEntries(named) });
      await reload("✓ The roles are saved.");
    }, submit);
  });
  return make("section", { class: "stack", "aria-labelledby": "title" }, make("h2", { id: "title" }, "Access"),
    make("dl", { class: "words" }, ...Object.entries(MAY).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])), form);
}

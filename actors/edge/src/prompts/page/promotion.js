// The way of a version to production: its gates, who lets it through, and the way back.

import { ask, at, to, versionsOf } from "./api.js";
import { act, badge, button, choice, empty, every, field, forbid, lacks, make, option, percent, place, question, reasonField, table, tick, time } from "./parts.js";

const REFRESH_MS = 2000;
const ENDS = ["done", "rolled_back", "stopped", "withdrawn"];
const NAMES = { fast_eval: "Fast eval", regression: "All golden cases", shadow: "Shadow traffic", canary: "Canary", guard: "Guard" };
const ABOUT = {
  fast_eval: "A few golden cases, to find plain mistakes at once", regression: "Every golden case, on staging",
  shadow: "Asked beside production; users do not see its answers", canary: "A small share of the users gets it",
  guard: "Watched after it came into production; it goes back by itself when it does worse",
};
const SIGNS = { waiting: ["○", "soft"], running: ["▶", "one"], passed: ["✓", "good"], failed: ["✗", ""], skipped: ["–", "soft"] };
const STAGES = {
  fast_eval: "is in the fast eval", regression: "is asked all golden cases", shadow: "runs beside production", canary: "serves a share of the users",
  ready: "is ready: somebody promotes it now", guard: "is in production, and is watched", done: "is done", rolled_back: "was taken back", stopped: "was stopped by a gate", withdrawn: "was withdrawn",
};
const stage = (name) => badge({ done: "✓ done", rolled_back: "↩ taken back", stopped: "✗ stopped", withdrawn: "– withdrawn", ready: "★ ready" }[name] || `▶ ${NAMES[name] || name}`,
  { done: "good", ready: "good", rolled_back: "", stopped: "", withdrawn: "soft" }[name] ?? "one");
const isOver = (promotion) => ENDS.includes(promotion.stage);

function gates(promotion) {
  return make("ol", { class: "gates" }, ...promotion.gates.map((gate) => {
    const [sign, kind] = SIGNS[gate.state] || ["", "soft"];
    const word = isOver(promotion) && gate.state === "waiting" ? "not reached" : gate.state;
    return make("li", { class: `gate ${gate.state}`, "data-gate": gate.gate, "aria-current": gate.state === "running" ? "step" : null, title: ABOUT[gate.gate] },
      make("span", { class: "gate-name" }, NAMES[gate.gate] || gate.gate), badge(`${sign} ${word}`, kind), gate.detail ? make("span", { class: "detail" }, gate.detail) : null);
  }));
}

function steps(promotion) {
  return make("details", {}, make("summary", {}, `What happened (${promotion.steps.length})`),
    make("ol", { class: "steps" }, ...promotion.steps.map((step) => make("li", {}, time(step.at_ms), " ", step.what))));
}

// Buttons of a promotion in progress; one that cannot be used says why.
function buttons(promotion, head, where, after) {
  const path = (verb) => at(head.name, "promotions", promotion.id, verb);
  const promoter = lacks(head, "promoter");
  const isReady = promotion.stage === "ready";
  const inProduction = promotion.stage === "guard" ? "It is in production already, and is watched." : "";
  const asked = promotion.override && !promotion.override.approved_by;
  const promote = button("Promote", (pressed) => act(where, async () => { await ask("POST", path("promote"), {}); await after(); }, pressed), { class: "main", "data-key": "promote" });
  const reasoned = (verb, title, text, confirm) => () => question({ title, text, confirm, fields: [reasonField()],
    work: async ({ reason }) => { await ask("POST", path(verb), { reason }); await after(); } });
  const withdraw = button("Withdraw", reasoned("withdraw", `Withdraw promotion ${promotion.id}`, inProduction ? "It stays in production, and is not watched any more." : "It ends here; version and history stay.", "Withdraw"), { "data-key": "withdraw" });
  const override = button("Override", reasoned("override", "Pass the gates over", "For emergencies: a second person must approve. Both names and the reason are kept.", "Ask for it"), { "data-key": "override" });
  const approve = button("Approve", (pressed) => act(where, async () => { await ask("POST", path("approve"), {}); await after(); }, pressed), { "data-key": "approve" });
  return make("div", { class: "row" },
    forbid(promote, promoter || inProduction || (isReady ? "" : `The gates come first: version ${promotion.version} ${STAGES[promotion.stage]}.`)),
    forbid(override, promoter || inProduction || (isReady ? "All gates are passed; promote it." : asked ? `${promotion.override.by} asked for it already.` : "")),
    forbid(approve, promoter || (asked ? "" : "Nobody asked for an override.")),
    forbid(withdraw, lacks(head, "editor")));
}

function card(promotion, head, after) {
  const where = place();
  const { override } = promotion;
  return make("section", { class: "card", id: "promotion", "aria-label": `Promotion ${promotion.id}`, "data-stage": promotion.stage },
    make("div", { class: "part-head" }, make("h3", {}, `Promotion ${promotion.id}: version ${promotion.version}`), stage(promotion.stage)),
    make("p", {}, `Version ${promotion.version} ${STAGES[promotion.stage] || promotion.stage}. `, promotion.from ? make("a", { href: to(head.name, "versions", `${promotion.from}..${promotion.version}`) }, `What it changes, compared with version ${promotion.from}`) : "It is the first one to come into production."),
    gates(promotion),
    promotion.waiting_for && !isOver(promotion) ? make("p", { class: "signal one" }, `Waiting for: ${promotion.waiting_for}`) : null,
    make("p", { class: "hint" }, `Begun by ${promotion.by}, `, time(promotion.created_ms), `: “${promotion.reason}”. `, promotion.canary_per_mille ? `Canary: ${percent(promotion.canary_per_mille)}. ` : "", promotion.auto ? "It is promoted by itself when all gates are passed. " : ""),
    override ? make("p", { class: "note" }, `Override asked for by ${override.by}: “${override.reason}”. `, override.approved_by ? `Approved by ${override.approved_by}.` : "A second person must approve it.") : null,
    isOver(promotion) ? null : buttons(promotion, head, where, after), where, steps(promotion));
}

// The promotion's card, asked for again while it is in progress.
async function live({ name, head, signal, reload }, id) {
  const box = make("div", { "aria-live": "polite" });
  let last = "";
  async function fill() {
    const promotion = await ask("GET", at(name, "promotions", id), undefined, signal);
    const now = JSON.stringify(promotion);
    if (now === last) return promotion;
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const isOpen = box.querySelector("details")?.open;
    const isFirst = last === "";
    last = now;
    box.replaceChildren(card(promotion, head, reload));
    if (isOpen) box.querySelector("details").open = true;
    if (focused) box.querySelector(`[data-key="${focused}"]`)?.focus();
    if (!isFirst && isOver(promotion)) await reload(`Promotion ${id}: version ${promotion.version} ${STAGES[promotion.stage]}.`);
    return promotion;
  }
  const promotion = await fill();
  const failed = place();
  if (!isOver(promotion)) every(REFRESH_MS, signal, () => act(failed, fill));
  return make("div", { class: "stack" }, box, failed);
}

function beginning({ name, head, rest, reload }, versions) {
  const where = place();
  const able = versions.filter((one) => one.state !== "production");
  if (able.length === 0) {
    return empty(make("p", {}, "The only version is in production. Commit another one under “Edit” to promote it."), make("a", { href: to(name, "edit") }, "Edit"));
  }
  const which = choice(able.map(option), rest[0] && able.some((one) => String(one.version) === rest[0]) ? rest[0] : able[0].version);
  const reason = make("textarea", { rows: 2, required: true, maxlength: 1000 });
  const share = make("input", { type: "number", min: 0.1, max: 50, step: 0.1, value: "1", class: "short" });
  const size = field("Share in per cent", share, "0.1 to 50");
  size.hidden = true;
  const asCanary = tick("Try it out on a share of the users", false, { change: (event) => { size.hidden = !event.target.checked; } });
  const auto = tick("Promote it by itself when all gates are passed", false);
  const box = (label) => label.querySelector("input");
  const submit = forbid(make("button", { type: "submit", class: "main" }, "Start the promotion"), lacks(head, "editor"));
  const form = make("form", { class: "card", id: "begin", "aria-label": "Start a promotion" }, make("h3", {}, "Start a promotion"),
    make("p", { class: "hint" }, "The version passes the gates that are set under “Settings”. Users get it only when you promote it."),
    field("Version", which), field("Reason", reason, "Others read it in the history."),
    head.production ? asCanary : null, size, auto, where, make("div", { class: "row end" }, submit));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(where, async () => {
      const body = { version: Number(which.value), reason: reason.value.trim(), auto: box(auto).checked };
      if (box(asCanary).checked) body.canary_per_mille = Math.round(Number(share.value) * 10);
      await ask("POST", at(name, "promotions"), body);
      await reload();
    }, submit);
  });
  return form;
}

function back({ name, head, reload }, moves) {
  const before = [...new Set(moves.filter((one) => one.pointer === "production").flatMap((one) => [one.to, one.from]))].filter((one) => one && one !== head.production);
  const reason = !head.production ? "Nothing is in production." : before.length === 0 ? "No other version was in production yet; there is nothing to go back to." : "";
  const roll = button("Roll back", () => {
    const which = choice(before.map((one) => [one, `version ${one}`]), head.previous ?? before[0], { name: "version" });
    question({ title: `Take version ${head.production} back`, confirm: "Roll back", text: "Users get the older version at once. A promotion in progress ends.",
      fields: [field("Back to", which), reasonField()],
      work: async (values) => {
        await ask("POST", at(name, "rollback"), { to_version: Number(values.version), reason: values.reason });
        await reload(`✓ Version ${values.version} is in production again.`);
      } });
  });
  return make("section", { class: "card", "aria-label": "In production" }, make("div", { class: "part-head" },
    make("h3", {}, "In production"), forbid(roll, lacks(head, "promoter") || reason)),
  make("p", {}, head.production ? `Version ${head.production} is served.` : "No version is served yet: promote one."), reason ? make("p", { class: "hint" }, reason) : null);
}

export async function promotion(context) {
  const { name, head, signal } = context;
  const read = (what) => ask("GET", at(name, what), undefined, signal).then(({ data }) => data);
  const [past, versions, moves] = await Promise.all([read("promotions"), versionsOf(name, signal), read("history")]);
  const top = head.promotion ? await live(context, head.promotion) : beginning(context, versions);
  const over = past.filter((one) => one.id !== head.promotion);
  const detail = make("div", { id: "past" });
  const rows = table("Promotions before", [
    ["Number", (one) => one.id, true], ["Version", (one) => one.version, true], ["Came out", (one) => stage(one.stage)],
    ["By", (one) => one.by, "name"], ["Reason", (one) => one.reason, "wide"], ["Begun", (one) => time(one.created_ms)],
    ["", (one) => button("Details", () => detail.replaceChildren(card(one, head, context.reload)), { "aria-label": `Details of promotion ${one.id}` })],
  ], over, "No promotion has ended yet.");
  return make("div", { class: "stack" }, top, back(context, moves), rows, detail);
}

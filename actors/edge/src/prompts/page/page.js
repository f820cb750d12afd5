// The prompt editor's page: which view the address asks for, and signing in.

import { headOf, session, to } from "./api.js";
import { badge, find, make, percent, problem, told } from "./parts.js";
import { list } from "./list.js";
import { edit, hasDraft } from "./editor.js";
import { versions } from "./versions.js";
import { promotion } from "./promotion.js";
import { evals } from "./evals.js";
import { golden } from "./golden.js";
import { experiments } from "./experiments.js";
import { history } from "./history.js";
import { access, settings } from "./settings.js";

const TABS = [
  ["edit", "Edit", edit], ["versions", "Versions", versions], ["promotion", "Promotion", promotion],
  ["evals", "Evals", evals], ["experiments", "Experiments", experiments], ["history", "History", history],
  ["settings", "Settings", settings],
];
// A name never begins with "-", so these cannot hide a prompt.
const PLACES = [["", "Prompts", list], ["golden", "Golden sets", golden], ["access", "Access", access]];

let leaving = new AbortController();
let views = 0;

function asked() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const team = new URLSearchParams(query || "").get("team");
  if (team) session.team = team;
  return path.split("/").filter(Boolean).map((one) => {
    try { return decodeURIComponent(one); } catch { return one; }
  });
}

function sections(current) {
  find("sections").replaceChildren(...PLACES.map(([key, label]) => make("a", {
    href: key ? to("-", key) : to(), "aria-current": current === key ? "page" : null }, label)));
  find("team").value = session.team;
}

function about(name, head, tab) {
  const signs = head ? [
    head.production ? badge(`● production: version ${head.production}`, "good") : badge("○ not in production", "soft"),
    head.staging && badge(`◐ staging: version ${head.staging}`, "one"),
    head.canary && badge(`◔ canary: version ${head.canary.version}, ${percent(head.canary.per_mille)}`, "one"),
    head.promotion && badge(`▶ promotion ${head.promotion} in progress`, "one"),
    head.protected && badge("▣ protected", "", "Whoever wrote a version may not promote it"),
    head.shared && badge("⇄ shared", "soft", "Other teams may copy it"),
    head.forked_from && badge(`↳ copy of ${head.forked_from.team}/${head.forked_from.prompt}, version ${head.forked_from.version}`, "soft"),
    head.role && badge(`your role: ${head.role}`, "soft"),
  ] : [badge("○ new, not committed yet", "soft")];
  const shown = head ? TABS : TABS.slice(0, 1);
  return [
    make("div", { class: "about" }, make("h2", { id: "title", tabindex: "-1" }, name), make("p", { class: "signs" }, ...signs)),
    make("nav", { class: "tabs", "aria-label": `Parts of ${name}` }, ...shown.map(([key, label]) => make("a", {
      href: to(name, key), "aria-current": key === tab ? "page" : null }, label, key === "edit" && hasDraft(name) ? " (unsaved)" : ""))),
  ];
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [name, given, ...rest] = asked();
  const main = find("main");
  main.setAttribute("aria-busy", "true");
  try {
    let content;
    if (name === undefined || name === "-") {
      const [key, label, view] = PLACES.find(([key]) => key === (given || "")) || PLACES[0];
      sections(key);
      document.title = `${label} – Headwater`;
      content = [await view({ signal, reload, rest })];
    } else {
      sections(null);
      const head = await headOf(name, signal);
      const [tab, label, view] = (head && TABS.find(([key]) => key === given)) || TABS[0];
      document.title = `${name}: ${label} – Headwater`;
      const body = await view({ name, head, rest, signal, reload });
      content = [...about(name, head, tab), body];
    }
    if (signal.aborted) return;
    problem("");
    main.replaceChildren(...content);
    // Whoever comes by keyboard goes on from the new view's beginning.
    if (views++ > 0 && !document.activeElement?.closest("dialog, main, header")) main.focus({ preventScroll: true });
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    problem(error.message);
    main.replaceChildren(make("p", { class: "empty" }, error.status === 401
      ? "Type your token in above, and press “Use”. Whoever runs this server gives you one."
      : "This could not be loaded; what went wrong stands above."));
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

// The view again, with what is true now.
const reload = (...notice) => {
  told(...notice);
  return show();
};

window.addEventListener("hashchange", () => {
  told();
  show();
});

find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = find("token").value.trim();
  if (token) session.token = token;
  session.team = find("team").value.trim();
  find("token").value = "";
  // The address may name another team.
  readdress(location.hash.split("?")[0]);
  reload();
});

function readdress(address) {
  window.history.replaceState(null, "", address + (session.team && address ? `?team=${encodeURIComponent(session.team)}` : "") || "#/");
}

show();

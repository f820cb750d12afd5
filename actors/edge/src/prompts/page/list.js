// All prompts of the team, with a search box; and the way to a new one.

import { ask, headOf, to } from "./api.js";
import { badge, button, choice, count, empty, field, forbid, lacks, make, many, percent, question, table, time } from "./parts.js";
import { begin, drafts, hasDraft } from "./editor.js";

const PAGE = 200;
export const NAME = "[a-z0-9][a-z0-9._\\-]{0,63}";
export const NAME_RULE = "1 to 64 of a–z, 0–9, “.”, “_” and “-”, beginning with a letter or a digit.";

function create() {
  const name = make("input", { name: "name", required: true, pattern: NAME, title: NAME_RULE, autocomplete: "off", spellcheck: "false" });
  const kind = choice([["chat", "Chat: messages with roles"], ["text", "Text: one piece, also for use in other prompts"]], "chat", { name: "kind" });
  question({
    title: "New prompt", confirm: "Begin",
    text: "It is made when you commit its first version. Its name cannot be changed later.",
    fields: [field("Name", name, NAME_RULE), field("Kind", kind)],
    work: async (values) => {
      if (await headOf(values.name)) throw new Error(`There is a prompt “${values.name}” already; choose another name, or open that one.`);
      begin(values.name, values.kind);
      location.hash = to(values.name, "edit");
    },
  });
}

function signs(head) {
  const all = [head.promotion && badge(`▶ promotion ${head.promotion} in progress`, "one"),
    head.protected && badge("▣ protected", "", "Whoever wrote a version may not promote it"), head.shared && badge("⇄ shared", "soft", "Other teams may copy it"),
    hasDraft(head.name) && badge("✎ unsaved changes of yours")].filter(Boolean);
  return all.length ? make("span", { class: "signs" }, ...all) : "–";
}

export async function list({ signal }) {
  let heads = [];
  let after;
  const more = async () => {
    const query = new URLSearchParams({ limit: PAGE, ...(after ? { after } : {}) });
    const page = await ask("GET", `/v1/prompts?${query}`, undefined, signal);
    heads = heads.concat(page.data);
    after = page.next_after;
  };
  do await more(); while (after && heads.length < 10 * PAGE);

  const search = make("input", { type: "search", autocomplete: "off", spellcheck: "false", input: () => fill() });
  const shown = make("div");
  const said = make("p", { class: "hint", role: "status" });
  function fill() {
    const wanted = search.value.trim().toLowerCase();
    const found = heads.filter((head) => head.name.toLowerCase().includes(wanted));
    said.textContent = wanted ? `${count(found.length)} of ${many(heads.length, "prompt")}` : many(heads.length, "prompt");
    shown.replaceChildren(table("", [
      ["Name", (head) => make("a", { href: to(head.name, "edit") }, head.name), "name"],
      ["Newest", (head) => head.newest, true], ["Production", (head) => head.production, true], ["Staging", (head) => head.staging, true],
      ["Canary", (head) => head.canary && `${head.canary.version} (${percent(head.canary.per_mille)})`, true],
      ["Signs", signs, "wide"], ["Changed", (head) => time(head.updated_ms)],
    ], found, `No prompt has “${search.value.trim()}” in its name.`));
    if (after) shown.append(button("Load more", async () => { await more(); fill(); }));
  }
  const unlisted = after ? [] : drafts().filter((name) => !heads.some((head) => head.name === name));
  const begun = unlisted.length ? make("p", { class: "note" }, "✎ Begun by you, and not committed yet: ", ...unlisted.flatMap((name) => [make("a", { href: to(name, "edit") }, name), " "])) : null;
  const fresh = () => button("New prompt", create, { class: "main" });
  if (heads.length === 0) {
    return make("section", { "aria-labelledby": "title" }, make("h2", { id: "title" }, "Prompts"), begun,
      empty(make("p", {}, "There are no prompts yet. A prompt is a text that your programs ask for by its name, so it can be changed, tried out and taken back without changing a program."),
        make("p", {}, "Begin with one: give it a name, write it, look at the preview, and commit it as version 1."), fresh()));
  }
  fill();
  // The role is the team's, so any head tells it.
  return make("section", { "aria-labelledby": "title" }, make("h2", { id: "title" }, "Prompts"),
    make("div", { class: "row" }, field("Search by name", search, "", "grow"), forbid(fresh(), lacks(heads[0], "editor"))), begun, said, shown);
}

// The dialog in which a draft becomes a version.

import { ask, at, to } from "./api.js";
import { button, field, find, inWords, list, make, many, place, say } from "./parts.js";
import { toDocument } from "./document.js";

// A finding is either taken out of the text, or kept with a reason that others can read.
function oneFinding(finding, dialog, go) {
  const reason = make("input", { "data-fingerprint": finding.fingerprint, maxlength: 500, placeholder: "such as: an example from the documentation" });
  return make("li", {}, make("p", {}, make("strong", {}, "⚠ "), make("code", {}, finding.field), `, line ${finding.line}: ${finding.description || finding.rule} (`, make("code", {}, finding.masked), ") ",
    button("Go there", () => { dialog.close(); go(finding); })),
  field("It is no secret, because", reason));
}

export function commit(context) {
  const { name, head, work, draft, go, again, drop, reload } = context;
  const { document, wrong } = toDocument(draft);
  const where = place();
  const found = make("div");
  const message = make("textarea", { rows: 2, required: true, maxlength: 1000, placeholder: "such as: greets in the customer's language" });
  const tags = make("input", { autocomplete: "off" });
  const submit = make("button", { type: "submit", class: "main" }, head ? "Commit" : "Commit version 1");
  const form = make("form", {}, make("h2", {}, `Commit ${name}`), field("What changes, and why", message), field("Tags", tags, "Separated by commas; may stay empty."),
    found, where, make("div", { class: "row end" }, button("Cancel", () => dialog.close()), submit));
  const dialog = make("dialog", { "aria-label": `Commit ${name}`, close: () => dialog.remove() }, form);

  function show(findings) {
    if (!findings.length) return found.replaceChildren();
    const overrides = make("ul", { class: "findings" }, ...findings.map((one) => oneFinding(one, dialog, go)));
    return found.replaceChildren(make("h3", {}, findings.length === 1 ? "This looks like a secret" : `${many(findings.length, "text")} look like secrets`),
      make("p", { class: "hint" }, "Everybody who may read this prompt could read it. Take it out and write {{ secret.NAME }} instead; or say why it may stay."), overrides);
  }

  // Somebody committed meanwhile; the own text stays in either case until its author says otherwise.
  function conflict(error) {
    say(where, `${error.message} `, make("span", { class: "row" },
      button("Reload and keep my changes", async () => {
        try {
          await again();
          dialog.close();
          reload(`Your changes are kept. Look at what the others did under “Versions” before you commit on top of version ${work.newest}.`);
        } catch (failure) { say(where, ...inWords(failure)); }
      }),
      button("Reload and drop my changes", () => { drop(); dialog.close(); reload(); })));
  }

  async function send() {
    const overrides = [...found.querySelectorAll("[data-fingerprint]")]
      .filter((one) => one.value.trim()).map((one) => ({ fingerprint: one.dataset.fingerprint, reason: one.value.trim() }));
    const body = { document, message: message.value.trim(), tags: list(tags.value), parent: work.base, expected_newest: work.newest ?? 0, overrides };
    const made = await ask("POST", at(name, "versions"), body);
    drop();
    dialog.close();
    // The next version begins from this one.
    history.replaceState(null, "", to(name, "edit"));
    const warnings = made.warnings?.length ? ` △ ${made.warnings.join("; ")}.` : "";
    await reload(`✓ Version ${made.version} is committed.${warnings} `,
      work.base ? make("a", { href: to(name, "versions", `${work.base}..${made.version}`) }, `Compare with version ${work.base}`) : "",
      " ", make("a", { href: to(name, "promotion") }, "Promote it"));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.getAttribute("aria-busy") === "true") return;
    if (wrong.length) return say(where, `${wrong[0].field} ${wrong[0].text}; fix it first.`);
    submit.setAttribute("aria-busy", "true");
    say(where);
    try {
      await send();
    } catch (error) {
      if (error.status === 409) conflict(error);
      else {
        if (error.code === "secret_found") show(error.findings);
        say(where, ...inWords(error));
      }
    } finally {
      submit.removeAttribute("aria-busy");
    }
  });
  show(context.findings || []);
  find("main").after(dialog);
  dialog.showModal();
  message.focus();
}

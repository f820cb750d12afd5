// A template's text field: line numbers, and tags marked behind the text. The text itself is an
// ordinary text field, so reading aloud, selecting and undoing work as everywhere.

import { fresh, make } from "./parts.js";

const TAGS = /\{\{[^]*?\}\}|\{%[^]*?%\}|\{#[^]*?#\}/g;
const KINDS = { "{{": "value", "{%": "rule", "{#": "remark" };

// Lines of [kind, text] pieces; a tag over several lines goes on in each.
function pieces(text) {
  const lines = [[]];
  const add = (kind, part) => part.split("\n").forEach((line, place) => {
    if (place > 0) lines.push([]);
    if (line) lines.at(-1).push([kind, line]);
  });
  let end = 0;
  for (const match of text.matchAll(TAGS)) {
    add("", text.slice(end, match.index));
    add(KINDS[match[0].slice(0, 2)], match[0]);
    end = match.index + match[0].length;
  }
  add("", text.slice(end));
  return lines;
}

export function template({ label, value, field, input }) {
  const text = make("textarea", {
    id: fresh(), "aria-label": label, spellcheck: "true", autocapitalize: "off", value,
    "data-template": field, placeholder: "Write here. {{ name }} puts a variable in.",
    input: () => { paint(); input(text.value); },
  });
  const mirror = make("div", { class: "mirror", "aria-hidden": "true" });
  let marked = new Set();
  function paint() {
    const lines = pieces(text.value).map((line, place) => make("div", { class: marked.has(place + 1) ? "line marked" : "line" },
      ...line.map(([kind, part]) => (kind ? make("span", { class: `tag ${kind}` }, part) : part))));
    mirror.replaceChildren(...lines);
  }
  paint();
  const box = make("div", { class: "template", role: "group", "aria-label": label }, make("div", { class: "sheet" }, mirror, text));
  return {
    box,
    text,
    // Lines with something to look at get a sign beside their number.
    mark(lines) {
      if (lines.join() === [...marked].join()) return;
      marked = new Set(lines);
      paint();
    },
    // Puts the cursor there, for links from messages.
    go(line, column) {
      const before = text.value.split("\n").slice(0, Math.max(line - 1, 0)).join("\n").length + (line > 1 ? 1 : 0);
      text.focus();
      text.setSelectionRange(before + Math.max((column || 1) - 1, 0), before + Math.max((column || 1) - 1, 0));
      mirror.children[line - 1]?.scrollIntoView({ block: "center" });
    },
  };
}

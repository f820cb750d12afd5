// What changed between two versions, side by side. Which lines changed the API says; here changed
// lines are put beside each other, and the words that differ in a pair are marked.

import { ask, at } from "./api.js";
import { button, count, make, many } from "./parts.js";

const AROUND = 3;
// Above this, marking words or finding pairs would take long, and would help nobody.
const MOST_STEPS = 250000;

const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^]/gu) || [];

// The longest common part of two lists: for each entry of either, whether it is in it.
function common(one, two) {
  const [rows, columns] = [one.length, two.length];
  const best = new Uint32Array((rows + 1) * (columns + 1));
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      const here = i * (columns + 1) + j;
      best[here] = one[i] === two[j] ? best[here + columns + 2] + 1 : Math.max(best[here + columns + 1], best[here + 1]);
    }
  }
  const kept = [new Set(), new Set()];
  for (let i = 0, j = 0; i < rows && j < columns;) {
    const here = i * (columns + 1) + j;
    if (one[i] === two[j]) { kept[0].add(i++); kept[1].add(j++); }
    else if (best[here + columns + 1] >= best[here + 1]) i++;
    else j++;
  }
  return kept;
}

// How much of two lines is the same, 0 to 1.
function likeness(one, two) {
  const [left, right] = [words(one).filter((word) => word.trim()), words(two).filter((word) => word.trim())];
  const all = Math.max(left.length, right.length);
  if (all === 0) return 1;
  if (left.length * right.length > MOST_STEPS / 10) return 0.5;
  return common(left, right)[0].size / all;
}

// Puts deleted and inserted lines of one place into rows, the most alike ones beside each other.
function pairs(deleted, inserted) {
  if (deleted.length * inserted.length > 400) {
    return [...Array(Math.max(deleted.length, inserted.length)).keys()].map((place) => [deleted[place], inserted[place]]);
  }
  const memory = new Map();
  const best = (i, j) => {
    if (i === deleted.length || j === inserted.length) return { sum: 0 };
    const known = i * (inserted.length + 1) + j;
    if (!memory.has(known)) {
      const like = likeness(deleted[i].text, inserted[j].text);
      const ways = [{ step: "left", sum: best(i + 1, j).sum }, { step: "right", sum: best(i, j + 1).sum }];
      if (like > 0.25) ways.unshift({ step: "both", sum: best(i + 1, j + 1).sum + like });
      memory.set(known, ways.reduce((most, way) => (way.sum > most.sum ? way : most)));
    }
    return memory.get(known);
  };
  const rows = [];
  let [i, j] = [0, 0];
  while (i < deleted.length || j < inserted.length) {
    const { step } = best(i, j);
    if (step === "both") rows.push([deleted[i++], inserted[j++]]);
    else if (i < deleted.length && (step === "left" || j === inserted.length)) rows.push([deleted[i++], undefined]);
    else rows.push([undefined, inserted[j++]]);
  }
  return rows;
}

// Rows of [left, right, is equal].
export function align(lines) {
  const rows = [];
  let [deleted, inserted] = [[], []];
  const flush = () => {
    for (const [left, right] of pairs(deleted, inserted)) rows.push([left, right, false]);
    [deleted, inserted] = [[], []];
  };
  for (const line of lines) {
    if (line.kind === "delete") deleted.push(line);
    else if (line.kind === "insert") inserted.push(line);
    else { flush(); rows.push([line, line, true]); }
  }
  flush();
  return rows;
}

function marked(text, other, name) {
  if (other === undefined || !text) return [text];
  const [mine, theirs] = [words(text), words(other)];
  if (mine.length * theirs.length > MOST_STEPS) return [text];
  const [kept] = common(mine, theirs);
  const parts = [];
  mine.forEach((word, place) => {
    const isKept = kept.has(place);
    if (parts.at(-1)?.[0] === isKept) parts.at(-1)[1] += word;
    else parts.push([isKept, word]);
  });
  return parts.map(([isKept, part]) => (isKept ? part : make(name, {}, part)));
}

function row([left, right, isEqual]) {
  const side = (line, other, number, kind, sign, name) => {
    if (!line) return [make("td", { class: "no" }), make("td", { class: "none" })];
    const text = isEqual ? [line.text] : marked(line.text, other?.text, name);
    return [make("td", { class: "no" }, line[number] ?? ""), make("td", { class: isEqual ? "same" : kind },
      make("span", { class: "sign", "aria-label": isEqual ? null : kind }, isEqual ? " " : sign), make("span", { class: "text" }, ...text))];
  };
  return make("tr", isEqual ? { class: "equal" } : { class: "change", tabindex: "-1" },
    ...side(left, right, "from_line", "removed", "−", "del"), ...side(right, left, "to_line", "added", "+", "ins"));
}

// Equal lines far from any change are folded; a button unfolds them.
function body(rows) {
  const near = new Set();
  rows.forEach(([, , isEqual], place) => {
    if (!isEqual) for (let other = place - AROUND; other <= place + AROUND; other++) near.add(other);
  });
  const shown = make("tbody");
  for (let place = 0; place < rows.length;) {
    if (near.has(place)) { shown.append(row(rows[place++])); continue; }
    let end = place;
    while (end < rows.length && !near.has(end)) end++;
    const hidden = rows.slice(place, end);
    if (hidden.length < 3) shown.append(...hidden.map(row));
    else {
      const open = make("tr", { class: "folded" }, make("td", { colspan: 4 }, button(`⋯ Show ${many(hidden.length, "equal line")}`, () => open.replaceWith(...hidden.map(row)))));
      shown.append(open);
    }
    place = end;
  }
  return shown;
}

export async function differences(name, from, to, signal) {
  const { fields } = await ask("GET", `${at(name, "diff")}?from=${from}&to=${to}`, undefined, signal);
  const changed = fields.filter(({ lines }) => lines.some(({ kind }) => kind !== "equal"));
  if (changed.length === 0) return make("p", { class: "hint" }, `Version ${from} and version ${to} say the same.`);
  const tables = changed.map(({ field, lines }) => make("div", { class: "table" }, make("table", { class: "diff" },
    make("caption", {}, make("code", {}, field)),
    make("colgroup", {}, make("col", { class: "no" }), make("col"), make("col", { class: "no" }), make("col")),
    make("thead", {}, make("tr", {}, make("th", { colspan: 2, scope: "colgroup" }, `version ${from}`), make("th", { colspan: 2, scope: "colgroup" }, `version ${to}`))),
    body(align(lines)))));
  const all = make("div", { class: "stack", id: "diff" });
  // From change to change, wherever the focus is.
  const step = (by) => {
    const changes = [...all.querySelectorAll("tr.change")].filter((one) => !one.previousElementSibling?.classList.contains("change"));
    const here = changes.findIndex((one) => one === document.activeElement || one.contains(document.activeElement));
    const next = changes[here < 0 ? (by > 0 ? 0 : changes.length - 1) : (here + by + changes.length) % changes.length];
    next.scrollIntoView({ block: "center" });
    next.focus({ preventScroll: true });
  };
  all.addEventListener("keydown", (event) => {
    if (event.key === "n" || event.key === "p") step(event.key === "n" ? 1 : -1);
  });
  const added = changed.flatMap(({ lines }) => lines).filter(({ kind }) => kind === "insert").length;
  const removed = changed.flatMap(({ lines }) => lines).filter(({ kind }) => kind === "delete").length;
  all.append(make("div", { class: "row" }, make("span", { class: "grow" }, `${many(changed.length, "field")}: ${many(added, "line")} added, ${count(removed)} removed`),
    button("← Previous change", () => step(-1)), button("Next change →", () => step(1)), make("span", { class: "hint" }, "or the keys p and n")), ...tables);
  return all;
}

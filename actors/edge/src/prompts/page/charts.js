// Charts, drawn as SVG by script. Places are given in per cent, so texts keep their size on any width.

import { make } from "./parts.js";

const SPACE = "http://www.w3.org/2000/svg";

function draw(name, attributes, ...children) {
  const node = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const titled = (text) => draw("title", {}, text);

// Bars from 0 to 1: { label, value, told }, with a line at the least score that is asked for.
export function scores(bars, least) {
  const [top, foot, tall] = [26, 24, 130];
  const svg = draw("svg", { role: "img", height: top + tall + foot, "aria-label": bars.map((bar) => `${bar.label}: ${bar.told}`).join(", ") });
  const step = 100 / Math.max(bars.length, 1);
  const wide = Math.min(step * 0.6, 9);
  bars.forEach((bar, index) => {
    const [middle, height] = [step * (index + 0.5), Math.max(bar.value * tall, 1)];
    svg.append(
      draw("rect", { class: "bar-one", x: `${middle - wide / 2}%`, width: `${wide}%`, y: top + tall - height, height }, titled(`${bar.label}: ${bar.told}`)),
      draw("text", { x: `${middle}%`, y: top + tall - height - 5, "text-anchor": "middle" }, bar.told),
      draw("text", { x: `${middle}%`, y: top + tall + 17, "text-anchor": "middle" }, bar.label),
    );
  });
  svg.append(draw("line", { class: "axis", x1: 0, x2: "100%", y1: top + tall, y2: top + tall }));
  if (least !== undefined) {
    const y = top + tall - least * tall;
    svg.append(draw("line", { class: "bound", x1: 0, x2: "100%", y1: y, y2: y }, titled(`least score: ${least}`)));
  }
  return make("div", { class: "chart" }, svg);
}

// Shapes as well as colours say how it came out.
const SHAPES = { better: "0,-7 7,6 -7,6", worse: "0,7 7,-6 -7,-6", undecided: "0,-6 6,0 0,6 -6,0" };

// Differences to the control with their confidence intervals: { label, difference, lower, upper, decision }.
export function intervals(rows, told) {
  const known = rows.flatMap((row) => [row.lower, row.upper, row.difference]).filter((value) => Number.isFinite(value));
  const reach = Math.max(...known.map(Math.abs), 1e-9) * 1.15;
  const [top, high] = [22, 46];
  const bottom = top + rows.length * high;
  const x = (value) => `${50 + (value / reach) * 48}%`;
  const said = (row) => `${row.label}: ${told(row.difference)}, between ${told(row.lower)} and ${told(row.upper)}, ${row.decision}`;
  const svg = draw("svg", { role: "img", height: bottom + 22, "aria-label": rows.map(said).join("; ") });
  svg.append(
    draw("line", { class: "zero", x1: "50%", x2: "50%", y1: top - 4, y2: bottom }),
    draw("text", { x: "50%", y: 12, "text-anchor": "middle" }, "as the control"),
    draw("text", { x: 2, y: bottom + 16 }, told(-reach)),
    draw("text", { x: "50%", y: bottom + 16, "text-anchor": "middle" }, "0"),
    draw("text", { x: "100%", dx: -2, y: bottom + 16, "text-anchor": "end" }, told(reach)),
  );
  rows.forEach((row, index) => {
    const y = top + index * high + 30;
    const kind = `mark ${row.decision}`;
    svg.append(draw("text", { x: 2, y: y - 15, class: "label" }, `${row.label} – ${row.decision}`));
    for (const [from, to, y1, y2] of [[row.lower, row.upper, y, y], [row.lower, row.lower, y - 6, y + 6], [row.upper, row.upper, y - 6, y + 6]]) {
      svg.append(draw("line", { class: kind, x1: x(from), x2: x(to), y1, y2 }, titled(said(row))));
    }
    // A polygon takes no per cent; a drawing within does.
    svg.append(draw("svg", { x: x(row.difference), y, overflow: "visible", width: 1, height: 1 },
      draw("polygon", { class: kind, points: SHAPES[row.decision] || SHAPES.undecided }, titled(said(row)))));
  });
  return make("div", { class: "chart" }, svg);
}

"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 760, HEIGHT = 520, LEFT = 62, RIGHT = 18, TOP = 16, BOTTOM = 50;
const shown = new Set(data.methods.filter((method) => method.shown).map((method) => method.name));
let chosen = null;

function element(parent, name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function html(parent, name, attributes = {}, text = null) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.appendChild(made);
  return made;
}

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const hue = (method) => (dark.matches ? method.dark : method.light);

function mark(parent, shape, x, y, size, attributes) {
  const s = size;
  const paths = {
    square: `M${x - s},${y - s}h${2 * s}v${2 * s}h${-2 * s}z`,
    diamond: `M${x},${y - 1.35 * s}l${1.35 * s},${1.35 * s}l${-1.35 * s},${1.35 * s}l${-1.35 * s},${-1.35 * s}z`,
    up: `M${x},${y - 1.25 * s}l${1.2 * s},${2.1 * s}h${-2.4 * s}z`,
    down: `M${x},${y + 1.25 * s}l${1.2 * s},${-2.1 * s}h${-2.4 * s}z`,
    cross: `M${x - s},${y - 0.4 * s}h${0.6 * s}v${-0.6 * s}h${0.8 * s}v${0.6 * s}h${0.6 * s}v${0.8 * s}h${-0.6 * s}v${0.6 * s}h${-0.8 * s}v${-0.6 * s}h${-0.6 * s}z`,
  };
  if (shape in paths) return element(parent, "path", { d: paths[shape], ...attributes });
  return element(parent, "circle", { cx: x, cy: y, r: s, ...attributes });
}

const pointsOf = (name) => data.points[at("view").value].filter((point) => point.method === name);
const numberOf = (point, metric) => point.numbers[metric];

function range(metric) {
  const all = data.points[at("view").value].filter((point) => shown.has(point.method) || shown.size === 0);
  const values = (all.length ? all : data.points[at("view").value]).map((point) => numberOf(point, metric)[0]);
  const low = Math.min(...values), high = Math.max(...values), gap = (high - low || 1) * 0.07;
  return [low - gap, high + gap];
}

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-12; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (step / power === 2.5 ? 1 : 0)) };
}

const minus = (text) => text.replace("-", "\u2212");

function draw() {
  const chart = at("chart"), xName = at("x").value, yName = at("y").value, whiskers = at("whiskers").checked;
  chart.replaceChildren();
  hideTip();
  const [x0, x1] = range(xName), [y0, y1] = range(yName);
  const px = (value) => LEFT + ((value - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const py = (value) => HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  const across = ticks(x0, x1, 6), up = ticks(y0, y1, 6);
  for (const value of across.found) {
    element(chart, "line", { class: "grid", x1: px(value), x2: px(value), y1: TOP, y2: HEIGHT - BOTTOM });
    element(chart, "text", { x: px(value), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, minus(value.toFixed(across.digits)));
  }
  for (const value of up.found) {
    element(chart, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: py(value), y2: py(value) });
    element(chart, "text", { x: LEFT - 8, y: py(value) + 4, "text-anchor": "end" }, minus(value.toFixed(up.digits)));
  }
  element(chart, "rect", { class: "frame", x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM });
  element(chart, "text", { class: "axis-title", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 12, "text-anchor": "middle" }, `${data.axes[xName].title} \u2192`);
  element(chart, "text", { class: "axis-title", x: 0, y: 0, transform: `translate(16 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, `${data.axes[yName].title} \u2192`);
  const clip = element(element(chart, "defs"), "clipPath", { id: "inside" });
  element(clip, "rect", { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM });
  const inside = element(chart, "g", { "clip-path": "url(#inside)" });
  const names = [];
  for (const method of data.methods) {
    if (!shown.has(method.name)) continue;
    const color = hue(method), own = pointsOf(method.name);
    const group = element(inside, "g", { "data-method": method.name });
    const place = own.map((point) => [px(numberOf(point, xName)[0]), py(numberOf(point, yName)[0])]);
    element(group, "path", { class: "curve", d: "M" + place.map((p) => p.join(",")).join("L"), stroke: color, "stroke-dasharray": method.dashed ? "5 4" : "none" });
    own.forEach((point, i) => {
      const [x, y] = place[i], [, left, right] = numberOf(point, xName), [, low, high] = numberOf(point, yName);
      const cross = element(group, "g", { class: "cross", visibility: whiskers ? "visible" : "hidden" });
      element(cross, "line", { class: "whisker", stroke: color, x1: px(left), x2: px(right), y1: y, y2: y });
      element(cross, "line", { class: "whisker", stroke: color, x1: x, x2: x, y1: py(low), y2: py(high) });
      const key = `${point.method}.${point.place}`;
      const knot = element(group, "g", { class: "point" + (key === chosen ? " chosen" : ""), tabindex: 0, role: "button", "data-key": key, "aria-label": `${method.name}, ${method.turned} ${point.setting}: ${data.axes[xName].title} ${numberOf(point, xName)[0]}, ${data.axes[yName].title} ${numberOf(point, yName)[0]}` });
      element(knot, "circle", { class: "halo", cx: x, cy: y, r: 13, fill: color });
      mark(knot, method.shape, x, y, 4.6, { class: "mark", fill: color });
      const show = () => { cross.setAttribute("visibility", "visible"); showTip(method, point, x, y); };
      const hide = () => { if (!at("whiskers").checked) cross.setAttribute("visibility", "hidden"); hideTip(); };
      knot.addEventListener("pointerenter", show);
      knot.addEventListener("pointerleave", hide);
      knot.addEventListener("focus", show);
      knot.addEventListener("blur", hide);
      knot.addEventListener("click", () => choose(point));
      knot.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(point); } });
    });
    names.push({ name: method.name, color, ends: [place[place.length - 1], place[0]] });
  }
  label(chart, names);
}

function label(chart, names) {
  const taken = [];
  for (const { name, color, ends } of names) {
    const width = 7 * name.length + 6;
    for (const [x, y] of ends.flatMap(([x, y]) => [[x + 9, y - 5], [x + 9, y + 14], [x - width, y - 6], [x - width, y + 14]])) {
      const box = [x, y - 10, x + width, y + 3];
      const free = taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
      if (free && box[0] > LEFT && box[2] < WIDTH - RIGHT && box[1] > TOP && box[3] < HEIGHT - BOTTOM) {
        taken.push(box);
        element(chart, "text", { class: "name", x, y, style: `fill:${color}`, "pointer-events": "none" }, name);
        break;
      }
    }
  }
}

const withBounds = ([value, low, high], digits) => minus(`${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`);

function showTip(method, point, x, y) {
  const tip = at("tip"), box = at("chart").getBoundingClientRect();
  tip.replaceChildren();
  html(tip, "b", {}, `${method.name} \u00b7 ${method.turned} ${point.setting}`);
  for (const metric of [at("x").value, at("y").value]) {
    const axis = data.axes[metric];
    html(tip, "div", {}, `${axis.title}: ${withBounds(numberOf(point, metric), axis.digits)}`);
  }
  html(tip, "div", {}, `base wrote ${Math.round(100 * point.base_share)} % \u00b7 ${Math.round(point.words)} words`);
  html(tip, "div", {}, `per answer: ${Math.round(point.generated)} tokens, ${point.seconds.toFixed(2)} s`);
  tip.hidden = false;
  const scale = box.width / WIDTH, left = x * scale, top = y * scale;
  tip.style.left = `${Math.max(4, Math.min(left + 14, box.width - tip.offsetWidth - 6))}px`;
  tip.style.top = `${top + 16 + tip.offsetHeight > box.height ? top - tip.offsetHeight - 12 : top + 16}px`;
}

function hideTip() { at("tip").hidden = true; }

function choose(point) {
  chosen = `${point.method}.${point.place}`;
  for (const knot of document.querySelectorAll(".point")) knot.classList.toggle("chosen", knot.dataset.key === chosen);
  const method = data.methods.find((one) => one.name === point.method);
  const texts = at("texts");
  texts.replaceChildren();
  html(texts, "h3", {}, `${method.name} \u00b7 ${method.turned} ${point.setting}`);
  html(texts, "p", { class: "hint" }, method.does);
  const key = html(texts, "p", { class: "key" });
  key.append("Aligned wrote plain words, ");
  html(key, "span", { class: "base" }, "base wrote these");
  key.append(". Shown are some prompts and answers, the same for every point.");
  for (const [question, answers] of data.texts[chosen] || []) {
    html(texts, "p", { class: "prompt" }, data.prompts[question]);
    const list = html(texts, "div", { class: "answers" });
    for (const [finish, ...voices] of answers) {
      const box = html(list, "div", { class: "answer" });
      for (const voice of voices) {
        const [, space, words] = voice.slice(1).match(/^(\s*)([^]*)$/);
        box.append(space); // no line below a gap
        html(box, "span", voice.startsWith("b") ? { class: "base" } : {}, words);
      }
      if (!voices.length) html(box, "em", {}, "(empty)");
      if (finish !== "end") html(box, "small", {}, finish);
    }
  }
  at("reader").hidden = false;
  at("reader").scrollIntoView({ behavior: "smooth", block: "nearest" });
}

function legend() {
  const list = at("legend");
  list.replaceChildren();
  for (const [family, words] of data.families) {
    const own = data.methods.filter((method) => method.family === family);
    if (!own.length) continue;
    const group = html(list, "fieldset");
    html(group, "legend", {}, words);
    for (const method of own) {
      const label = html(group, "label", { title: method.does });
      const box = html(label, "input", { type: "checkbox", value: method.name });
      box.checked = shown.has(method.name);
      const icon = document.createElementNS(SVG, "svg");
      icon.setAttribute("viewBox", "0 0 26 14");
      label.appendChild(icon);
      element(icon, "line", { x1: 0, x2: 26, y1: 7, y2: 7, stroke: hue(method), "stroke-width": 1.8, "stroke-dasharray": method.dashed ? "4 3" : "none" });
      mark(icon, method.shape, 13, 7, 4.2, { fill: hue(method) });
      html(label, "span", {}, method.name);
      box.addEventListener("change", () => { if (box.checked) shown.add(method.name); else shown.delete(method.name); draw(); });
      label.addEventListener("pointerenter", () => emphasise(method.name));
      label.addEventListener("pointerleave", () => emphasise(null));
    }
  }
}

function emphasise(name) {
  for (const group of document.querySelectorAll("#chart [data-method]")) {
    group.classList.toggle("faint", name !== null && shown.has(name) && group.dataset.method !== name);
    if (group.dataset.method === name) group.parentElement.appendChild(group); // above all others
  }
}

function choices() {
  for (const [id, wanted, groups] of [["x", data.first[0], ["lexical", "semantic"]], ["y", data.first[1], ["quality"]]]) {
    for (const group of groups) {
      const list = html(at(id), "optgroup", { label: group });
      for (const [name, axis] of Object.entries(data.axes)) {
        if (axis.group === group) html(list, "option", name === wanted ? { value: name, selected: "" } : { value: name }, axis.title);
      }
      if (!list.children.length) list.remove();
    }
    at(id).addEventListener("change", draw);
  }
  at("view").addEventListener("change", draw);
  at("whiskers").addEventListener("change", draw);
}

function sortable() {
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement, table = head.closest("table"), column = [...head.parentElement.children].indexOf(head);
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => { const cell = row.children[column]; return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value); };
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => { const [u, v] = [value(a), value(b)]; return (u > v) - (u < v); });
      for (const row of down ? rows.reverse() : rows) body.appendChild(row);
    });
  }
}

choices();
legend();
draw();
sortable();
dark.addEventListener("change", () => { legend(); draw(); });

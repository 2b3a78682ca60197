"use strict";
const PAGE = 20;
const byId = (id) => document.getElementById(id);
const parsed = (id) => JSON.parse(byId(id).textContent);
const root = document.documentElement;

/* An element with a class and text; data only ever becomes text. */
function made(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

/* ---- theme ---- */
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

function themed() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  document.querySelectorAll(".plot.drawn").forEach(draw);
}

byId("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch (error) { /* a file may have no storage */ }
  themed();
});
systemDark.addEventListener("change", themed);

/* ---- main table ---- */
const table = byId("main");
for (const name of ["model", "split"]) {
  const values = new Set([...table.querySelectorAll(`td.${name}`)].map((cell) => cell.dataset.value));
  table.classList.toggle(`one-${name}`, values.size === 1);
}

function sortTable(header) {
  const ascending = header.getAttribute("aria-sort") === "ascending" ? false
    : header.getAttribute("aria-sort") === "descending" ? true : !header.classList.contains("number");
  const column = [...header.parentNode.children].indexOf(header);
  const numeric = header.classList.contains("number");
  const key = (row) => row.children[column].dataset.value;
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return (ascending ? 1 : -1) * (numeric ? Number(a) - Number(b) : a.localeCompare(b));
  });
  table.tBodies[0].append(...rows);
  table.querySelectorAll("th[aria-sort]").forEach((one) => one.setAttribute("aria-sort", "none"));
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

table.querySelectorAll("th[aria-sort] button").forEach((button) => {
  button.addEventListener("click", () => sortTable(button.closest("th")));
});

/* ---- figures ---- */
const plots = parsed("plots");
const colours = parsed("colours");

function coloured(value, style) {
  if (typeof value === "string") return colours[value] ? style.getPropertyValue(`--${colours[value]}`).trim() : value;
  if (Array.isArray(value)) return value.map((one) => coloured(one, style));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, style)]));
  }
  return value;
}

function draw(element) {
  const style = getComputedStyle(root);
  const [ink, muted, line, panel] = ["ink", "muted", "line", "panel"].map((name) => style.getPropertyValue(`--${name}`).trim());
  const plot = coloured(plots[element.dataset.plot], style);
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickfont: { color: ink }, fixedrange: true };
  const layout = {
    ...plot.layout,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
    paper_bgcolor: panel, plot_bgcolor: panel, dragmode: false,
    hoverlabel: { bgcolor: panel, bordercolor: muted, font: { color: ink } },
    xaxis: { ...axis, ...plot.layout.xaxis },
    yaxis: { ...axis, ...plot.layout.yaxis },
  };
  Plotly.react(element, plot.data, layout, { responsive: true, displayModeBar: false });
  if (!element.classList.contains("drawn")) {
    element.classList.add("drawn");
    if (element.closest(".confusion")) element.on("plotly_click", (event) => showCell(element, event.points[0]));
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    seen.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "400px" });
document.querySelectorAll(".plot").forEach((element) => seen.observe(element));

document.querySelectorAll("select.runs").forEach((select) => {
  select.addEventListener("change", () => {
    select.closest("section").querySelectorAll(".figures").forEach((one, place) => { one.hidden = place !== Number(select.value); });
  });
});

let printedTheme;
addEventListener("beforeprint", () => {
  printedTheme = root.dataset.theme;
  root.dataset.theme = "light";
  document.querySelectorAll(".figures:not([hidden]) .plot, .wide .plot").forEach(draw);
});
addEventListener("afterprint", () => {
  if (printedTheme) root.dataset.theme = printedTheme; else delete root.dataset.theme;
  themed();
});

/* ---- rows ---- */
const [INDEX, ID, FIELDS, TRUTH, GUESS, CANDIDATES, SCORES, RANK, READ] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const { strings, runs } = parsed("browser");
let run = runs[0];
let matching = [];
let first = 0;

const shownLabel = (place) => {
  const word = run.words[place];
  return word && word !== run.labels[place] ? `${run.labels[place]} ${word}` : run.labels[place];
};

function options(select, all, places) {
  select.replaceChildren(new Option(all, ""), ...places.map((place) => new Option(shownLabel(place), place)));
  select.disabled = places.length === 0;
}

function chooseRun() {
  run = runs[Number(byId("run").value)];
  const places = (column) => [...new Set(run.rows.map((row) => row[column]).filter((place) => place !== null))].sort((a, b) => a - b);
  options(byId("truth"), "any", places(TRUTH));
  options(byId("guess"), "any", places(GUESS));
  byId("disputed").disabled = run.disputed.length === 0;
  for (const value of ["right", "wrong"]) byId("result").querySelector(`[value=${value}]`).disabled = byId("truth").disabled;
  if (byId("result").selectedOptions[0].disabled) byId("result").value = "";
  const scores = run.rows.map((row) => row[SCORES][0]);
  run.low = scores.reduce((a, b) => Math.min(a, b), Infinity);
  run.high = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  filter();
}

/* How sure a prediction is: the margin over the second candidate, or the distance from the nearest threshold. */
function margin(row) {
  if (row[CANDIDATES].length > 1) return row[SCORES][0] - row[SCORES][1];
  return run.thresholds.length ? Math.min(...run.thresholds.map((one) => Math.abs(row[SCORES][0] - one))) : 0;
}

const texts = (row) => [...row[FIELDS], ...(row[READ] || [])].map((place) => strings[place]);

function filter() {
  const [result, truth, guess, order] = ["result", "truth", "guess", "order"].map((id) => byId(id).value);
  const text = byId("text").value.trim().toLowerCase();
  const number = /^#\d+$/.test(text) ? Number(text.slice(1)) : null;
  const disputed = new Set(run.disputed);
  const isLike = (row) => (result === "disputed" ? disputed.has(row[INDEX]) : (row[TRUTH] === row[GUESS]) === (result === "right"));
  matching = run.rows.filter((row) =>
    (!result || isLike(row))
    && (!truth || row[TRUTH] === Number(truth))
    && (!guess || row[GUESS] === Number(guess))
    && (!text || (number === null ? texts(row).some((one) => one.toLowerCase().includes(text)) : row[INDEX] === number)));
  if (order !== "file") matching.sort((one, other) => (order === "sure" ? -1 : 1) * (margin(one) - margin(other)));
  first = 0;
  show();
}

/* A segment of the pair: what stands in braces is filled in, the candidate and the prompt's words are marked. */
function segment(form, row, name) {
  const element = made("div", "segment");
  element.append(made("small", "", name));
  for (const part of form.split(/(\{\w+\})/).filter(Boolean)) {
    const key = part.startsWith("{") ? part.slice(1, -1) : null;
    if (key === null) element.append(made("mark", "", part));
    else if (key === "candidate") element.append(made("mark", "", candidateText(row, 0) ?? "candidate"));
    else element.append(made(key === "text" || key === "before" || key === "after" ? "span" : "mark", "", strings[row[FIELDS][run.fields.indexOf(key)]] ?? ""));
  }
  return element;
}

function candidateText(row, rank) {
  if (row[READ]) return strings[row[READ][rank]];
  const place = row[CANDIDATES][rank];
  return run.prompts.length ? strings[run.prompts[place]] : run.labels[place];
}

function bar(from, to, low, high) {
  const element = made("i");
  const share = (value) => (100 * (value - low)) / (high - low || 1);
  element.style.left = `${share(Math.min(from, to))}%`;
  element.style.width = `${Math.max(share(Math.max(from, to)) - share(Math.min(from, to)), 0.6)}%`;
  return element;
}

function oddsLine(name, score, low, high, chosen, isTrue) {
  const line = made("li", `${chosen ? "chosen" : ""} ${isTrue ? "true" : ""}`);
  const gauge = made("span", "gauge");
  gauge.append(bar(Math.min(Math.max(0, low), high), score, low, high));
  line.append(made("span", "name", name), gauge, made("span", "value", (score > 0 ? "+" : score < 0 ? "−" : "") + Math.abs(score).toFixed(2)));
  return [line, gauge];
}

function odds(row) {
  const list = made("ul", "odds");
  if (!row[CANDIDATES].length) {
    const [low, high] = [Math.min(run.low, 0), Math.max(run.high, 0)];
    const [line, gauge] = oddsLine(`log-odds (${run.thresholds.length > 1 ? "thresholds" : "threshold"} ${run.thresholds.map((one) => one.toFixed(2)).join(", ")})`, row[SCORES][0], low, high, true, false);
    for (const threshold of run.thresholds) {
      const mark = bar(threshold, threshold, low, high);
      mark.className = "threshold";
      mark.style.width = "";
      mark.title = `threshold ${threshold.toFixed(2)}`;
      gauge.append(mark);
    }
    list.append(line);
    return list;
  }
  const [low, high] = [Math.min(0, ...row[SCORES]), Math.max(0, ...row[SCORES])];
  row[CANDIDATES].forEach((place, rank) => {
    const text = candidateText(row, rank);
    const label = run.labels[place];
    const name = text === label || run.words[place] === label ? text : `${label} ${text}`;
    list.append(oddsLine(name, row[SCORES][rank], low, high, place === row[GUESS], place === row[TRUTH])[0]);
  });
  return list;
}

function example(row) {
  const element = made("article");
  const head = made("header");
  head.append(made("span", "number", `#${row[INDEX]}${row[ID] === null ? "" : ` (id ${row[ID]})`}`));
  if (row[TRUTH] !== null) {
    const right = row[TRUTH] === row[GUESS];
    head.append(made("span", `verdict ${right ? "right" : "wrong"}`, right ? "right" : "wrong"));
    head.append(made("span", "", `true: ${shownLabel(row[TRUTH])}`));
  }
  head.append(made("span", "", `predicted: ${shownLabel(row[GUESS])}`));
  if (row[RANK] > 1) head.append(made("span", "number", `the truth is at rank ${row[RANK]}`));
  element.append(head);
  if (row[FIELDS].length) run.segments.forEach((form, place) => element.append(segment(form, row, ["first segment", "second segment"][place])));
  element.append(odds(row));
  return element;
}

function show() {
  byId("examples").replaceChildren(...matching.slice(first, first + PAGE).map(example));
  const last = Math.min(first + PAGE, matching.length);
  byId("count").textContent = matching.length ? `Rows ${first + 1} to ${last} of ${matching.length}` : "No row is like that. Choose less.";
  byId("previous").disabled = first === 0;
  byId("next").disabled = last >= matching.length;
}

function turn(by) {
  first += by;
  show();
  byId("count").scrollIntoView({ block: "start" });
}

/* A cell of a confusion matrix: its rows in the browser. */
function showCell(element, point) {
  byId("run").value = runs.findIndex((one) => one.name === element.closest("[data-run]").dataset.run);
  byId("text").value = byId("result").value = "";
  chooseRun();
  byId("truth").value = point.pointIndex[0];
  byId("guess").value = point.pointIndex[1];
  if (byId("truth").selectedIndex > 0 && byId("guess").selectedIndex > 0) filter();
  byId("rows").scrollIntoView();
}

byId("run").replaceChildren(...runs.map((one, place) => new Option(one.name, place)));
byId("run").addEventListener("change", chooseRun);
for (const id of ["result", "truth", "guess", "order"]) byId(id).addEventListener("change", filter);
byId("text").addEventListener("input", filter);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => turn(-PAGE));
byId("next").addEventListener("click", () => turn(PAGE));
chooseRun();
themed();

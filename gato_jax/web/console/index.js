// The table of runs, live, and the choice of the runs whose curves are drawn.

const COLUMNS = [
  ["name", "run"], ["state", "state"], ["step", "step"], ["loss", "loss"], [null, ""], ["tokens_per_second", "tokens/s"],
  ["score", "score"], ["started", "started"],
];
const SILENT = 900;  // seconds after which the age of the last metric of a run in training is alarming
const charts = new Charts();
const rows = new Map(), nameCells = new Map();  // {run: its row, and the first cell of that}
const colours = new Map();  // {run: index of its colour}, kept while it is chosen
let runs = [], order = {key: "started", up: false}, chosen = null;

function colourOf(name) {
  const index = colours.get(name);
  return index === undefined ? null : {colour: `var(--s${index % 8})`, dash: index < 8 ? null : index < 16 ? "6 3" : "2 3"};
}

function choose(name, wanted) {
  if (!wanted) colours.delete(name);
  else if (!colours.has(name)) {
    const used = new Set(colours.values());
    let free = 0;
    while (used.has(free)) free++;
    colours.set(name, free);
  }
}

function chooseFirst() {  // those in training, or else the newest one
  const training = runs.filter(run => run.state === "training").slice(0, 4);
  const begun = runs.filter(run => run.step !== null);
  const newest = [...(begun.length ? begun : runs)].sort((a, b) => (a.age ?? 1e12) - (b.age ?? 1e12)).slice(0, 1);
  for (const run of training.length ? training : newest) choose(run.name, true);
  chosen = true;
}

function value(run, key) {
  if (key === "score") return run.score ? parseFloat(run.score.text) : null;
  if (key === "state") return ["training", "killed", "ended"].indexOf(run.state);
  if (key === "started") return run.started || (run.age === null ? null : new Date(Date.now() - 1000 * (run.age + (run.seconds || 0))).toISOString());
  return run[key];
}

function sorted() {
  const sign = order.up ? 1 : -1;
  return [...runs].sort((a, b) => {
    const [x, y] = [value(a, order.key), value(b, order.key)];
    if (x === null || y === null) return (x === null) - (y === null) || (a.name < b.name ? -1 : 1);
    return (x < y ? -sign : x > y ? sign : 0) || (a.name < b.name ? -1 : 1);
  });
}

function sortBy(key) {
  order = {key, up: order.key === key ? !order.up : ["name", "state", "loss"].includes(key)};
  show();
}

function head() {
  const cells = COLUMNS.map(([key, label]) => {
    const number = ["step", "loss", "tokens_per_second", "score"].includes(key) ? "number" : null;
    if (!key) return make("th", {scope: "col"});
    const mark = order.key === key ? (order.up ? " \u2191" : " \u2193") : "";
    const direction = order.key === key ? (order.up ? "ascending" : "descending") : null;
    return make("th", {scope: "col", class: number, "aria-sort": direction}, make("button", {type: "button", onclick: () => sortBy(key)}, label + mark));
  });
  const line = document.querySelector("#runs thead tr");
  if (line.dataset.order !== JSON.stringify(order)) line.replaceChildren(...cells);
  line.dataset.order = JSON.stringify(order);
}

function sparkline(points) {
  const svg = make("svg", {class: "sparkline", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true"});
  if (points.length > 1) {
    const low = Math.min(...points), span = Math.max(...points) - low || 1;
    const d = points.map((p, i) => `${i ? "L" : "M"}${(100 * i / (points.length - 1)).toFixed(1)} ${(28 - 26 * (p - low) / span).toFixed(1)}`).join("");
    svg.append(make("path", {d}));
  }
  return svg;
}

// The first cell of a row; it stays the same element while the page is open, so that a click or the focus is not lost.
function nameCell(run) {
  if (!nameCells.has(run.name)) {
    const box = make("input", {
      type: "checkbox", "aria-label": `Draw the curves of ${run.name}`,
      onchange: event => { choose(run.name, event.target.checked); show(); charts.redraw(); charts.refresh().catch(() => {}); },
    });
    const link = make("a", {href: "/run?run=" + encodeURIComponent(run.name)}, run.name);
    nameCells.set(run.name, make("th", {scope: "row"}, make("label", {}, box, make("span", {}, link)), make("p", {class: "problems"})));
  }
  const cell = nameCells.get(run.name);
  cell.querySelector("input").checked = colours.has(run.name);
  cell.querySelector(".problems").textContent = run.problems.join(" ");
  return cell;
}

function otherCells(run) {
  const share = run.steps ? Math.min(1, (run.step || 0) / run.steps) : null;
  const progress = share === null ? null : make("span", {class: "progress"}, make("i", {style: `width:${100 * share}%`}));
  const cell = (name, kind, ...children) => make("td", {class: kind, "data-name": name}, ...children);
  const age = run.state === "training" && run.age !== null ? `last metric ${duration(Math.round(run.age))} ago` : run.note;
  const started = value(run, "started");
  return [
    make("td", {title: run.note}, make("span", {class: `state ${run.state}`}, run.state === "training" ? "training now" : run.state), age ? make("small", {class: run.state === "training" && run.age > SILENT ? "bad" : null}, age) : null),
    cell("step", "number", short(run.step), run.steps ? make("small", {}, "of " + short(run.steps)) : null, progress),
    cell("loss", "number main", short(run.loss)),
    make("td", {class: "drawing"}, run.curve.length > 1 ? sparkline(run.curve) : null),
    cell("tokens/s", "number", short(run.tokens_per_second)),
    cell("score", "number", run.score ? run.score.text : "-", run.score ? make("small", {title: run.score.of}, run.score.interval || run.score.of) : null),
    cell("started", "", started ? new Date(started).toLocaleString([], {dateStyle: "medium", timeStyle: "short"}) : "-"),
  ];
}

function show() {
  head();
  const body = document.querySelector("#runs tbody"), list = sorted();
  for (const name of [...rows.keys()]) if (!list.some(run => run.name === name)) { rows.get(name).remove(); rows.delete(name); nameCells.delete(name); }
  list.forEach((run, index) => {
    if (!rows.has(run.name)) rows.set(run.name, make("tr", {"data-run": run.name}, nameCell(run)));
    const row = rows.get(run.name), colour = colourOf(run.name);
    nameCell(run);
    while (row.children.length > 1) row.lastChild.remove();
    row.append(...otherCells(run));
    row.className = run.state;
    row.style.setProperty("--c", colour ? colour.colour : "");
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  const training = runs.filter(run => run.state === "training").length;
  document.getElementById("count").textContent = !runs.length ? "There is no run any more." : `${runs.length} run${runs.length === 1 ? "" : "s"}, ${training} in training`;
  charts.runs = sorted().filter(run => colours.has(run.name)).map(run => ({name: run.name, ...colourOf(run.name)}));
}

document.getElementById("sort").append(...COLUMNS.filter(([key]) => key).map(([key, label]) => make("option", {value: key}, label)));
document.getElementById("sort").value = order.key;
document.getElementById("sort").addEventListener("input", event => sortBy(event.target.value));
repeat(async () => {
  runs = (await ask("/runs")).runs;
  for (const name of [...colours.keys()]) if (!runs.some(run => run.name === name)) colours.delete(name);
  if (chosen === null && runs.length) chooseFirst();
  show();
  await charts.refresh();
}, 2000, failed => { document.getElementById("offline").hidden = !failed; });

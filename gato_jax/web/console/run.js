// The page of one run: facts and curves live, and its parts, which are asked for when they are looked at.

const run = JSON.parse(document.getElementById("name").textContent);
const query = "run=" + encodeURIComponent(run);
const parts = ["curves", "report", "films", "tokens", "config", "sessions"];
const charts = new Charts();
charts.runs = [{name: run, colour: "var(--s0)", dash: null}];
charts.chosen = ["loss", "learning_rate", "gradient_norm", "tokens_per_second"];
let facts = null;

const part = () => parts.includes(location.hash.slice(1)) ? location.hash.slice(1) : "curves";

// Show a page that the server makes in a frame as high as the page, unless the frame shows it already.
function frame(host, address, fits) {
  const old = host.querySelector("iframe");
  if (old && old.dataset.address === address) return;
  const made = make("iframe", {src: address, "data-address": address, title: host.id});
  made.addEventListener("load", () => {
    const inside = made.contentDocument;
    if (!inside || !fits) return;
    const fit = () => { made.style.height = inside.documentElement.scrollHeight + "px"; };
    new made.contentWindow.ResizeObserver(fit).observe(inside.body);
    fit();
  });
  host.replaceChildren(made);
}

function showPart() {
  const now = part();
  for (const one of parts) document.getElementById(one).hidden = one !== now;
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.hash === "#" + now) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (now === "curves") charts.redraw();
  if (!facts) return;
  if (now === "report") frame(document.getElementById("report"), `/report?${query}&state=${facts.report}`, true);
  if (now === "films") frame(document.getElementById("films"), `/films?${query}&state=${facts.films}`, true);
}

function showFacts() {
  const score = facts.score;
  const figures = [
    ["state", facts.state === "training" ? "training now" : facts.state, facts.note],
    ["step", short(facts.step), facts.steps ? "of " + short(facts.steps) : ""],
    ["loss", short(facts.loss), ""],
    ["tokens/s", short(facts.tokens_per_second), facts.tokens ? short(facts.tokens) + " tokens in all" : ""],
    ["score", score ? score.text : "-", score ? [score.interval, score.of].filter(Boolean).join("; ") : ""],
    ["trained for", facts.seconds ? duration(facts.seconds) : "-", facts.age === null ? "" : `last metric ${duration(facts.age)} ago`],
  ];
  document.getElementById("figures").replaceChildren(...figures.map(([label, text, note]) =>
    make("div", {"data-fact": label}, make("dt", {}, label), make("dd", {}, text, note ? make("small", {}, " " + note) : null))));
  document.getElementById("problems").replaceChildren(...facts.problems.map(text => make("p", {class: "problems"}, text)));
  const config = Object.entries(facts.config);
  document.getElementById("values").replaceChildren(...config.map(([key, text]) => make("div", {}, make("dt", {}, key), make("dd", {}, text))));
  if (!config.length) document.getElementById("values").append(make("p", {class: "empty"}, "The run has no config.json."));
  document.getElementById("processes").replaceChildren(...facts.sessions.flatMap(session => [
    make("h3", {}, new Date(session.started).toLocaleString()),
    make("pre", {class: "command"}, session.command || ""),
    make("p", {class: "note"}, [session.devices, session.machine, session.commit && "commit " + session.commit].filter(Boolean).join("; ")),
  ]));
  if (!facts.sessions.length) document.getElementById("processes").append(make("p", {class: "empty"}, "The run has no sessions.jsonl."));
}

document.getElementById("rows").addEventListener("submit", event => {
  event.preventDefault();
  const [row, count] = ["row", "count"].map(id => Math.max(0, Math.floor(+document.getElementById(id).value) || 0));
  const host = document.getElementById("inspected");
  host.replaceChildren();
  frame(host, `/tokens?${query}&row=${row}&rows=${count}`, false);
});
addEventListener("hashchange", showPart);
repeat(async () => {
  facts = await ask("/facts?" + query);
  showFacts();
  showPart();
  await charts.refresh();
}, 2000, failed => { document.getElementById("offline").hidden = !failed; });

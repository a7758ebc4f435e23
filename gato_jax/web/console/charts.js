"use strict";
// Curves of runs: their store, which asks the server only for what is new, and their drawing as SVG.

const POINTS = 600;
const FEW = 20;  // points of a curve below which it is not smoothed

// The curves of one run, each {step, tokens, seconds, low, high, mean, count: lists}.
class Curves {
  constructor(run) { this.run = run; this.forget([]); }

  forget(keys) { Object.assign(this, {asked: keys, generation: "", offset: 0, size: 0, keys: [], curves: {}}); }

  // Ask for new lines; true if there were some.
  async refresh(keys) {
    if (keys.join("\n") !== this.asked.join("\n")) { const known = this.keys; this.forget(keys); this.keys = known; }
    if (Object.values(this.curves).some(curve => curve.step.length > 3 * POINTS)) this.offset = 0;  // downsample again
    let changed = false;
    do {
      const query = new URLSearchParams({
        run: this.run, keys: JSON.stringify(keys), since: this.offset, generation: this.generation, points: POINTS,
      });
      const found = await ask("/metrics?" + query);
      if (found.fresh) this.curves = {};
      changed ||= found.fresh || found.offset !== this.offset;
      for (const [key, more] of Object.entries(found.curves)) {
        const curve = this.curves[key] ??= Object.fromEntries(Object.keys(more).map(name => [name, []]));
        for (const name of Object.keys(more)) curve[name].push(...more[name]);
      }
      const stuck = found.offset === this.offset && found.generation === this.generation;
      Object.assign(this, {generation: found.generation, offset: found.offset, size: found.size, keys: found.keys});
      if (stuck || found.size - found.offset < 1e6) break;
    } while (true);
    return changed;
  }
}

class Unanswered extends Error {}
class Refused extends Unanswered {}  // there is no such run, or not any more

async function ask(address) {
  let response;
  try { response = await fetch(address); }
  catch (error) { throw new Unanswered(String(error)); }
  if (!response.ok) throw new Refused(await response.text());
  return response.json();
}

// Call `step` now and again after each pause while the page is visible; `report` gets true if there was no answer.
function repeat(step, milliseconds, report) {
  let timer = null, busy = false;
  const tick = async () => {
    clearTimeout(timer);
    if (busy) return;
    busy = true;
    try { if (!document.hidden) { await step(); report(false); } }
    catch (error) {
      if (!(error instanceof Unanswered)) reportError(error);
      else report(true);
    }
    busy = false;
    timer = setTimeout(tick, milliseconds);
  };
  document.addEventListener("visibilitychange", () => document.hidden || tick());
  tick();
  return tick;
}

function make(name, fields = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "circle"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(fields)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

function short(value) {
  if (value === null || value === undefined) return "-";
  const size = Math.abs(value);
  for (const [unit, name] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]])
    if (size >= unit) return +(value / unit).toPrecision(3) + name;
  return size && size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(3));
}

function duration(seconds) {
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= 2 * unit) return +(seconds / unit).toPrecision(3) + " " + name;
  return +seconds.toPrecision(3) + " s";
}

// Exponential moving average, in which a point counts as often as it has values; the first ones are not pulled to 0.
function smooth(curve, weight) {
  if (!weight || curve.mean.length < FEW) return curve.mean;
  let sum = 0, total = 0;
  return curve.mean.map((value, index) => {
    const kept = weight ** curve.count[index];
    sum = kept * sum + (1 - kept) * value;
    total = kept * total + (1 - kept);
    return sum / total;
  });
}

function ticks(low, high, log, wanted) {
  if (log) {
    const places = [];
    const decades = Math.log10(high / low), steps = decades > 4 ? [1] : decades > 1.3 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 7];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += Math.ceil(decades / 8) || 1)
      for (const digit of steps) places.push(digit * 10 ** power);
    const inside = places.filter(place => place >= low * 0.999 && place <= high * 1.001);
    if (inside.length > 1) return inside;
  }
  const raw = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find(factor => factor * power >= raw) * power, places = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) places.push(index * step);
  return places;
}

// Draw curves into a figure: series is [{name, colour, dash, curve}], setting {axis, log, smoothing}.
function draw(figure, label, series, setting) {
  const drawn = series.map(one => ({...one, x: one.curve[setting.axis], y: smooth(one.curve, setting.smoothing)}))
    .filter(one => one.x.some(value => value !== null));
  const svg = figure.querySelector("svg"), width = svg.clientWidth || 500, height = 240;
  const area = {left: 52, right: width - 8, top: 10, bottom: height - 26};
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", label);
  const last = drawn.length === 1 ? short(drawn[0].y.at(-1)) : "";
  figure.querySelector("figcaption").replaceChildren(label, make("span", {}, last));
  const values = drawn.flatMap(one => one.curve.low.concat(one.curve.high)).filter(v => !setting.log || v > 0).sort((a, b) => a - b);
  const places = drawn.flatMap(one => one.x).filter(value => value !== null);
  figure.shown = null;
  if (!values.length || !places.length) {
    const why = drawn.length && setting.log ? "no value above 0 for a logarithmic scale" : "no values yet";
    svg.replaceChildren(make("text", {x: area.left, y: height / 2, class: "tick"}, why));
    return;
  }
  const bound = (list, pick) => list.reduce((a, b) => pick(a, b));
  // A few outliers do not flatten the rest: the scale holds the middle 99% and all smoothed values.
  const smoothed = drawn.flatMap(one => one.y).filter(value => !setting.log || value > 0);
  const cut = Math.floor(values.length / 200);
  let low = Math.min(values[cut], bound(smoothed.length ? smoothed : values, Math.min));
  let high = Math.max(values[values.length - 1 - cut], bound(smoothed.length ? smoothed : values, Math.max));
  const scale = setting.log ? Math.log : value => value;
  if (low === high) [low, high] = setting.log ? [low / 2, high * 2] : [low - (Math.abs(low) / 2 || 1), high + (Math.abs(high) / 2 || 1)];
  if (!setting.log) { const rim = (high - low) * 0.04; [low, high] = [low >= 0 ? Math.max(0, low - rim) : low - rim, high + rim]; }
  const first = bound(places, Math.min), final = Math.max(bound(places, Math.max), first + 1e-9);
  const px = value => area.left + (area.right - area.left) * (value - first) / (final - first);
  const py = value => area.bottom - (area.bottom - area.top) * (scale(value) - scale(low)) / (scale(high) - scale(low));
  const clip = value => Math.max(-50, Math.min(height + 50, py(setting.log ? Math.max(value, 1e-30) : value))).toFixed(1);
  const parts = [];
  for (const place of ticks(low, high, setting.log, 4)) {
    parts.push(make("line", {class: "grid", x1: area.left, x2: area.right, y1: py(place), y2: py(place)}));
    parts.push(make("text", {class: "tick", x: area.left - 7, y: py(place) + 4, "text-anchor": "end"}, short(place)));
  }
  const shown = setting.axis === "seconds" ? duration : short;
  const across = ticks(first, final, false, Math.max(2, width / 130))
    .filter((place, index, all) => !index || shown(place) !== shown(all[index - 1]));
  for (const place of across) {
    const anchor = px(place) > area.right - 18 ? "end" : px(place) < area.left + 8 ? "start" : "middle";
    parts.push(make("text", {class: "tick", x: px(place), y: height - 7, "text-anchor": anchor}, shown(place)));
  }
  parts.push(make("line", {class: "axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom}));
  for (const one of drawn) {
    const style = `--c:${one.colour};--dash:${one.dash || "none"}`;
    const at = one.x.map((value, index) => index).filter(index => one.x[index] !== null);
    const line = list => at.map((index, k) => `${k ? "L" : "M"}${px(one.x[index]).toFixed(1)} ${clip(list[index])}`).join("");
    if (one.curve.count.some(count => count > 1)) {
      const back = [...at].reverse().map(index => `L${px(one.x[index]).toFixed(1)} ${clip(one.curve.low[index])}`).join("");
      parts.push(make("path", {class: "band", style, d: `${line(one.curve.high)}${back}Z`}));
    } else if (setting.smoothing) parts.push(make("path", {class: "raw", style, d: line(one.curve.mean)}));
    parts.push(make("path", {class: "curve", style, d: line(one.y)}));
    if (at.length === 1) parts.push(make("circle", {style, r: 3, cx: px(one.x[at[0]]), cy: clip(one.y[at[0]])}));
  }
  svg.replaceChildren(...parts);
  figure.shown = {drawn, px, clip, area, shown, first, final};
}

function newFigure() {
  const svg = make("svg", {class: "plotted", role: "img"});
  const readout = make("p", {class: "readout"});
  const figure = make("figure", {}, make("figcaption"), svg, readout);
  const clear = () => { svg.querySelectorAll(".cross, .mark").forEach(one => one.remove()); readout.replaceChildren(); };
  svg.addEventListener("pointerleave", clear);
  svg.addEventListener("pointermove", event => {
    clear();
    if (!figure.shown) return;
    const {drawn, px, clip, area, shown, first, final} = figure.shown;
    const x = Math.max(area.left, Math.min(area.right, event.clientX - svg.getBoundingClientRect().left));
    const wanted = first + (final - first) * (x - area.left) / (area.right - area.left);
    svg.append(make("line", {class: "cross", x1: x, x2: x, y1: area.top, y2: area.bottom}));
    readout.append(shown(wanted) + ": ");
    for (const one of drawn) {
      let best = -1;
      one.x.forEach((value, index) => {
        if (value !== null && (best < 0 || Math.abs(value - wanted) < Math.abs(one.x[best] - wanted))) best = index;
      });
      svg.append(make("circle", {class: "mark", style: `--c:${one.colour}`, r: 3.5, cx: px(one.x[best]), cy: clip(one.y[best])}));
      readout.append(make("b", {style: `--c:${one.colour}`}, (drawn.length > 1 ? one.name + " " : "") + short(one.y[best])));
    }
  });
  return figure;
}

// The charts of chosen quantities of some runs, with the settings of tools.html.
class Charts {
  constructor() {
    this.stores = new Map();   // {run: Curves}
    this.figures = new Map();  // {quantity: figure}
    this.chosen = ["loss", "learning_rate"];
    this.runs = [];            // [{name, colour, dash}]
    for (const id of ["axis", "log", "smoothing"]) document.getElementById(id).addEventListener("input", () => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(document.getElementById("charts"));
  }

  get setting() {
    const field = id => document.getElementById(id);
    field("smoothed").value = (+field("smoothing").value).toFixed(2);
    return {axis: field("axis").value, log: field("log").checked, smoothing: +field("smoothing").value};
  }

  // Ask for new lines and draw them; calls wait for each other, so that no line is added twice.
  refresh() {
    this.queue = (this.queue ?? Promise.resolve()).catch(() => {}).then(() => this.update());
    return this.queue;
  }

  async update() {
    for (const name of this.stores.keys()) if (!this.runs.some(run => run.name === name)) this.stores.delete(name);
    let changed = false;
    for (const {name} of this.runs) {
      if (!this.stores.has(name)) this.stores.set(name, new Curves(name));
      try { if (await this.stores.get(name).refresh(this.chosen)) changed = true; }
      catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.stores.delete(name);
        changed = true;
      }
    }
    if (changed) this.redraw();
  }

  redraw() {
    const known = new Set([...this.stores.values()].flatMap(store => store.keys));
    const rank = key => [["loss"], ["rollout/"], ["held_out/"], ["learning_rate"], ["gradient_norm"], ["tokens_per_second"], ["loss/"]]
      .findIndex(([start]) => key === start || (start.endsWith("/") && key.startsWith(start))) + 1 || 99;
    const keys = [...known].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
    const chips = keys.map(key => make("button", {
      type: "button", "aria-pressed": String(this.chosen.includes(key)), "data-key": key,
      onclick: () => { this.chosen = this.chosen.includes(key) ? this.chosen.filter(one => one !== key) : [...this.chosen, key]; this.redraw(); this.refresh().catch(() => {}); },
    }, key));
    const host = document.getElementById("keys"), focused = document.activeElement?.dataset?.key;
    const wanted = chips.map(chip => chip.outerHTML).join("");
    if (host.dataset.shown !== wanted) {
      host.replaceChildren(...chips);
      if (focused) chips.find(chip => chip.dataset.key === focused)?.focus();
    }
    host.dataset.shown = wanted;
    const setting = this.setting, shown = keys.filter(key => this.chosen.includes(key));
    for (const [key, figure] of this.figures) if (!shown.includes(key)) { figure.remove(); this.figures.delete(key); }
    const charts = document.getElementById("charts");
    for (const key of shown) {
      if (!this.figures.has(key)) this.figures.set(key, newFigure());
      const figure = this.figures.get(key);
      if (charts.children[shown.indexOf(key)] !== figure) charts.insertBefore(figure, charts.children[shown.indexOf(key)] ?? null);
      const series = this.runs.filter(run => this.stores.get(run.name)?.curves[key])
        .map(run => ({...run, curve: this.stores.get(run.name).curves[key]}));
      draw(figure, key, series, key === "learning_rate" ? {...setting, smoothing: 0} : setting);
    }
    document.getElementById("legend").replaceChildren(...this.runs.map(run => {
      const store = this.stores.get(run.name), read = store && store.size ? store.offset / store.size : 1;
      const line = make("svg", {width: 22, height: 8, "aria-hidden": "true"}, make("line", {class: "curve strong", x1: 0, x2: 22, y1: 4, y2: 4}));
      return make("li", {style: `--c:${run.colour};--dash:${run.dash || "none"}`}, line, run.name, read < 0.99 ? ` (${Math.floor(100 * read)}% read)` : "");
    }));
  }
}

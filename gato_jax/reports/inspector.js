"use strict";
// One row is drawn at a time; one event listener serves all of its tokens.
const { kinds, rows } = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["--text", "--discrete", "--continuous", "--patch", "--code", "--separator"];
const SEPARATOR = kinds.indexOf("separator"), PATCH = kinds.indexOf("image patch");
const at = id => document.getElementById(id);
const flow = at("flow"), card = at("card"), jump = at("jump"), tabs = [...document.querySelectorAll("[role=tab]")];
const state = { row: 0, chosen: null, hovered: null, hidden: new Set(), mask: "all" };
const tileOf = new Map(); // position -> [image, tile], for the row on display
let row, tokens, cells, steps, figures;

function make(tag, fields = {}, ...children) {
  const { data, style, role, ...plain } = fields;
  const element = Object.assign(document.createElement(tag), plain);
  Object.assign(element.dataset, data);
  if (style) element.style.cssText = style;
  if (role) element.setAttribute("role", role);
  element.append(...children);
  return element;
}

const count = (n, word) => `${n.toLocaleString("en")} ${word}${n == 1 ? "" : "s"}`;
const percent = share => `${(100 * share).toFixed(share < 0.1 && share > 0 ? 1 : 0)}%`;
const name = i => tokens.key[i] ? `${tokens.key[i]}[${tokens.element[i]}]` : "";

function short(value) {
  if (typeof value != "number" || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1000 || size < 0.001 ? value.toExponential(0).replace("e+", "e") : value.toPrecision(size < 0.1 ? 2 : 3);
}

function cellText(i) {
  if (tokens.kind[i] == SEPARATOR) return "|";
  if (tokens.kind[i] == PATCH) return "";
  return tokens.value[i] === null ? String(tokens.id[i]) : short(tokens.value[i]).replaceAll("\u2581", "\u00b7"); // SentencePiece's low bar looks like a target mark
}

// ---- drawing a row

/** Splits [start, stop) into ranges [start, stop) of neighbouring positions that are equal in all `fields`. */
function runs(start, stop, fields) {
  const found = [];
  for (let i = start; i < stop; i++) {
    if (i == start || fields.some(field => tokens[field][i] != tokens[field][i - 1])) found.push([i, i]);
    found[found.length - 1][1] = i + 1;
  }
  return found;
}

function drawRow(number) {
  state.row = number;
  row = rows[number], tokens = row.tokens;
  const length = (tokens.id ?? []).length;
  Object.assign(state, { chosen: null, hovered: null });
  cells = [], steps = [], figures = [], tileOf.clear();
  row.images.forEach((image, g) => image.positions.forEach((p, tile) => p !== null && tileOf.set(p, [g, tile])));
  drawTileStyles();
  const parts = runs(0, length, ["segment"]).map(drawSegment);
  if (length < row.context) parts.push(drawPadding(length));
  flow.replaceChildren(...parts);
  flow.setAttribute("aria-label", `Tokens of row ${row.row}`);
  flow.removeAttribute("aria-activedescendant");
  tabs.forEach((tab, i) => { tab.setAttribute("aria-selected", i == number); tab.tabIndex = i == number ? 0 : -1; });
  tabs[number].scrollIntoView({ block: "nearest", inline: "nearest" });
  at("row").setAttribute("aria-labelledby", `tab${number}`);
  drawHead(length);
  drawKinds();
  drawJump();
  filter();
  show();
}

function drawTileStyles() {
  const old = at("tiles"), style = make("style", { id: "tiles" });
  style.textContent = row.images.map(({ png, grid: [high, wide] }, g) =>
    `.g${g}{background-image:url(${png});background-size:${wide * 100}% ${high * 100}%}`).join("\n");
  old ? old.replaceWith(style) : document.head.append(style);
}

const tilePlace = (g, tile) => {
  const [high, wide] = row.images[g].grid, y = Math.floor(tile / wide), x = tile % wide;
  return `background-position:${wide > 1 ? x / (wide - 1) * 100 : 0}% ${high > 1 ? y / (high - 1) * 100 : 0}%`;
};

function drawSegment([start, stop]) {
  const pieces = make("div", { className: "pieces" }, ...runs(start, stop, ["prompt", "episode"]).map(drawPiece));
  return make("div", { className: "segment" }, make("h3", {}, `segment ${tokens.segment[start]}`), pieces);
}

function drawPiece([start, stop]) {
  const prompt = tokens.prompt[start], inside = runs(start, stop, ["step"]);
  const [first, last] = [tokens.step[start], tokens.step[stop - 1]];
  const label = `${prompt ? "prompt: " : ""}episode ${tokens.episode[start]}, ${first == last ? `step ${first}` : `steps ${first} to ${last}`}`;
  return make("div", { className: prompt ? "piece prompt" : "piece" },
    make("p", {}, make("span", {}, label)), make("div", { className: "steps" }, ...inside.map(drawStep)));
}

function drawStep([start, stop]) {
  const cut = tokens.local_position[start] > 0; // it is 0 at the start of a timestep
  const inside = make("div", { className: "inside" });
  const shown = row.images.map((_, g) => g).filter(g => row.images[g].positions.some(p => p !== null && p >= start && p < stop));
  if (shown.length) inside.append(make("div", { className: "images" }, ...shown.map(drawImage)));
  const line = make("div", { className: "cells" });
  for (let i = start; i < stop; i++) line.append(drawCell(i, i > start && tokens.key[i] != tokens.key[i - 1]));
  inside.append(line);
  const box = make("div", { className: cut ? "step cut" : "step" }, make("p", {}, `${tokens.step[start]}${cut ? " (cut)" : ""}`), inside);
  steps.push({ start, stop, box });
  return box;
}

function drawCell(i, first) {
  const kind = tokens.kind[i], tile = tileOf.get(i);
  const marks = [`c k${kind}`, first && "first", tokens.in_loss[i] && "loss", tokens.prompt[i] && "prompted"];
  const cell = make("span", { id: `t${i}`, role: "option", data: { i }, textContent: cellText(i) });
  if (kind == PATCH && tile) {
    marks.push(`g${tile[0]}`);
    cell.style.cssText = tilePlace(...tile);
    cell.setAttribute("aria-label", `patch ${name(i)}`);
  }
  cell.className = marks.filter(Boolean).join(" ");
  return cells[i] = cell;
}

function drawImage(g) {
  const { png, key, episode, step, positions, size: [height, width] } = row.images[g];
  const scale = Math.min(1, 160 / height, 240 / width) * Math.max(1, Math.min(Math.round(88 / height), Math.floor(176 / width)));
  const held = positions.filter(p => p !== null).length;
  const alt = `${key} of episode ${episode}, step ${step}, rebuilt from ${count(held, "token")}`;
  const picture = make("img", { src: png, alt, width: width * scale, height: height * scale, draggable: false });
  const caption = held < positions.length ? `${key} (${held} of ${positions.length})` : key;
  return figures[g] = make("figure", { className: "image", data: { g } }, picture, make("figcaption", {}, caption));
}

function drawPadding(length) {
  const left = row.context - length;
  return make("p", { className: "padding" }, make("span", {},
    `padding: ${count(left, "position")}, ${length} to ${row.context - 1} (${percent(left / row.context)} of the row)`));
}

function drawHead(length) {
  const sum = list => (list ?? []).reduce((a, b) => a + b, 0), episodes = new Set(tokens.episode);
  const targets = sum(tokens.in_loss), patches = (tokens.kind ?? []).filter(kind => kind == PATCH).length;
  const facts = [
    ["tokens", length, `of ${row.context.toLocaleString("en")}`], ["in the loss", targets, length ? percent(targets / length) : ""],
    ["prompt", sum(tokens.prompt), ""], ["image patches", patches, ""], ["timesteps", steps.length, ""],
    ["segments", new Set(tokens.segment).size, ""], ["episodes", episodes.size, "no. " + [...episodes].slice(0, 6).join(", ") + (episodes.size > 6 ? ", ..." : "")],
    ["padding", percent((row.context - length) / row.context), ""]];
  at("dataset").textContent = row.dataset;
  at("figures").replaceChildren(...facts.map(([term, value, note]) => make("div", {}, make("dt", {}, term),
    make("dd", {}, value.toLocaleString("en"), " ", make("small", {}, note)))));
  at("end").textContent = `${row.context - 1}`;
  at("overview").setAttribute("aria-label", `Row ${row.row} at a glance: ${count(length, "token")}, ${targets} in the loss`);
}

function drawKinds() {
  at("kinds").replaceChildren(...kinds.map((kind, k) => {
    const held = (tokens.kind ?? []).filter(other => other == k).length;
    const chip = make("button", { type: "button", data: { k }, hidden: !held }, make("i", { className: `k${k}` }), kind, make("b", {}, String(held)));
    return chip;
  }));
}

function drawJump() {
  const groups = new Map();
  steps.forEach(({ start }, s) => {
    const label = `${tokens.prompt[start] ? "prompt, " : ""}episode ${tokens.episode[start]}, segment ${tokens.segment[start]}`;
    if (!groups.has(label)) groups.set(label, make("optgroup", { label }));
    groups.get(label).append(make("option", { value: s }, `${tokens.episode[start]}:${tokens.step[start]}`));
  });
  jump.replaceChildren(make("option", { value: "" }, "episode:step"), ...groups.values());
}

function drawOverview() {
  const canvas = at("overview"), ratio = devicePixelRatio || 1, width = canvas.clientWidth, ink = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement), colour = variable => style.getPropertyValue(variable);
  canvas.width = width * ratio, canvas.height = 34 * ratio;
  ink.scale(ratio, ratio);
  const unit = width / row.context;
  for (let i = 0; i < row.context; i++) {
    const x = i * unit, wide = Math.max(unit, 0.6);
    if (i >= cells.length) { ink.fillStyle = colour("--rule"), ink.fillRect(x, 15, wide, 2); continue; }
    ink.globalAlpha = visible(i) ? 1 : 0.15;
    ink.fillStyle = colour(COLOURS[tokens.kind[i]]), ink.fillRect(x, 7, wide, 18);
    ink.fillStyle = colour("--ink");
    if (tokens.in_loss[i]) ink.fillRect(x, 27, wide, 4);
    if (tokens.prompt[i]) ink.fillStyle = colour("--soft"), ink.fillRect(x, 3, wide, 2);
    ink.globalAlpha = 1;
    if (i && tokens.segment[i] != tokens.segment[i - 1]) ink.fillStyle = colour("--ink"), ink.fillRect(x - 0.5, 0, 1, 34);
  }
}

// ---- filters

/** Returns whether token i passes the filters. */
const visible = i => !state.hidden.has(tokens.kind[i]) &&
  (state.mask == "all" || Boolean(state.mask == "loss" ? tokens.in_loss[i] : tokens.prompt[i]));

function filter() {
  flow.className = [...state.hidden].map(k => `hide${k}`).join(" ");
  flow.dataset.mask = state.mask;
  for (const chip of at("kinds").children) chip.setAttribute("aria-pressed", !state.hidden.has(Number(chip.dataset.k)));
  for (const chip of at("masks").children) chip.setAttribute("aria-pressed", chip.dataset.mask == state.mask);
  drawOverview();
}

// ---- the selected token

function choose(i, { scroll = false } = {}) {
  cells[state.chosen]?.classList.remove("chosen");
  cells[state.chosen]?.removeAttribute("aria-selected");
  state.chosen = i, state.hovered = null;
  if (i === null) flow.removeAttribute("aria-activedescendant");
  else {
    cells[i].classList.add("chosen");
    cells[i].setAttribute("aria-selected", "true");
    flow.setAttribute("aria-activedescendant", `t${i}`);
    jump.value = stepOf(i);
    if (scroll) reveal(cells[i]);
  }
  history.replaceState(null, "", `#row=${row.row}${i === null ? "" : `&token=${i}`}`);
  show();
}

/** Scrolls until the cell is visible between the toolbar above and, on a phone, the card below. */
function reveal(cell) {
  const box = cell.getBoundingClientRect(), tools = document.querySelector(".tools"), sheet = card.getBoundingClientRect();
  const top = getComputedStyle(tools).position == "sticky" ? tools.offsetHeight + 12 : 12;
  const bottom = getComputedStyle(card).position == "fixed" && sheet.height ? sheet.top - 12 : innerHeight - 12;
  if (box.top < top) scrollBy(0, box.top - top - 40);
  else if (box.bottom > bottom) scrollBy(0, box.bottom - bottom + 40);
}

function hover(i) {
  if (i === state.hovered) return;
  cells[state.hovered]?.classList.remove("hovered");
  cells[i]?.classList.add("hovered");
  state.hovered = i;
  show();
}

function show() {
  const i = state.hovered ?? state.chosen;
  at("here").hidden = i === null;
  if (i !== null) at("here").style.left = `${(i + 0.5) / row.context * 100}%`;
  outline(i);
  if (i === null) return card.replaceChildren(make("p", { className: "empty" }, "Point at a token to see its details."));
  const kind = tokens.kind[i], valid = tokens.valid[i], facts = [["id", tokens.id[i]]];
  if (tokens.target_id[i] != tokens.id[i]) facts.push(["target id", tokens.target_id[i]]);
  facts.push(["in the loss", tokens.in_loss[i] ? "yes" : "no"], ["prompt", tokens.prompt[i] ? "yes" : "no"]);
  if (valid) facts.push(["valid ids", `${valid[0]} to ${valid[1] - 1}`]);
  facts.push(["local position", tokens.local_position[i]], ["segment", tokens.segment[i]], ["episode", tokens.episode[i]],
    ["step", tokens.step[i]], ["position", i]);
  const walk = (by, label, sign) => make("button", { type: "button", data: { by }, ariaLabel: label }, sign);
  card.replaceChildren(cardValue(i),
    make("p", { className: `what k${kind}` }, make("i"), kinds[kind], tokens.key[i] ? `, ${tokens.side[i]} ` : "", make("b", {}, name(i))),
    make("dl", {}, ...facts.flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, String(fact))])),
    make("div", { className: "walk" }, walk(-1, "previous token", "previous"), walk(1, "next token", "next"), walk(0, "clear the selection", "clear")));
}

function cardValue(i) {
  const tile = tileOf.get(i);
  if (tile) {
    const [g, number] = tile, { size: [height, width], grid: [high, wide] } = row.images[g];
    const aspect = (height / high) / (width / wide);
    return make("span", { className: `tile g${g}`, role: "img", ariaLabel: "the token's part of the image", style: `${tilePlace(g, number)};aspect-ratio:1/${aspect}` });
  }
  const value = tokens.value[i];
  const said = value === null ? kinds[tokens.kind[i]] : typeof value == "number" ? String(Number(value.toPrecision(6))) : value;
  return make("p", { className: "value" }, said);
}

function outline(i) {
  document.querySelectorAll(".image i").forEach(mark => mark.remove());
  if (i === null || !tileOf.has(i)) return;
  const [g, tile] = tileOf.get(i), [high, wide] = row.images[g].grid, picture = figures[g].firstChild;
  const [x, y] = [tile % wide, Math.floor(tile / wide)], [w, h] = [picture.width / wide, picture.height / high];
  figures[g].append(make("i", { style: `left:${x * w}px;top:${y * h}px;width:${w}px;height:${h}px` }));
}

/** Returns the position of the cell or image tile under the pointer, or null. */
function pointed(event) {
  const cell = event.target.closest(".c");
  if (cell) return Number(cell.dataset.i);
  if (event.target.tagName != "IMG") return null;
  const { grid: [high, wide], positions } = row.images[event.target.parentNode.dataset.g];
  const [x, y] = [event.offsetX / event.target.width * wide, event.offsetY / event.target.height * high].map(Math.floor);
  return positions[Math.min(Math.max(y, 0), high - 1) * wide + Math.min(Math.max(x, 0), wide - 1)] ?? null;
}

/** Returns the next position from `i` in direction `by` that passes the filters, or `i` if there is none. */
function next(i, by) {
  for (let j = i + by; j >= 0 && j < cells.length; j += by) if (visible(j)) return j;
  return i;
}

const stepOf = i => steps.findIndex(({ start, stop }) => i >= start && i < stop);

/** Returns the same offset within the previous or next timestep. */
function nextStep(i, by) {
  const here = stepOf(i), there = steps[here + by];
  return there ? Math.min(there.start + i - steps[here].start, there.stop - 1) : i;
}

function toStep(s) {
  steps[s].box.scrollIntoView({ block: "start" });
  choose(steps[s].start);
}

// ---- input

flow.addEventListener("pointermove", event => { if (event.pointerType == "mouse") hover(pointed(event)); });
flow.addEventListener("pointerleave", () => hover(null));
flow.addEventListener("click", event => { const i = pointed(event); if (i !== null) choose(i); });
flow.addEventListener("focus", () => { if (state.chosen === null && flow.matches(":focus-visible") && cells.length) choose(0); });
flow.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || !cells.length) return;
  const i = state.chosen ?? 0, moves = {
    ArrowLeft: () => next(i, -1), ArrowRight: () => next(i, 1), ArrowUp: () => nextStep(i, -1), ArrowDown: () => nextStep(i, 1),
    Home: () => 0, End: () => cells.length - 1, Escape: () => null };
  if (!(event.key in moves)) return;
  event.preventDefault();
  choose(moves[event.key](), { scroll: event.key != "Escape" });
});
card.addEventListener("click", event => {
  const by = event.target.closest("button")?.dataset.by;
  if (by === undefined) return;
  if (by == 0) { choose(null); return flow.focus({ preventScroll: true }); }
  choose(next(state.chosen ?? state.hovered, Number(by)), { scroll: true });
  card.querySelector(`[data-by="${by}"]`).focus({ preventScroll: true });
});
at("kinds").addEventListener("click", event => {
  const chip = event.target.closest("button");
  if (!chip) return;
  const k = Number(chip.dataset.k);
  state.hidden.has(k) ? state.hidden.delete(k) : state.hidden.add(k);
  filter();
});
at("masks").addEventListener("click", event => {
  const chip = event.target.closest("button");
  if (chip) { state.mask = chip.dataset.mask; filter(); }
});
jump.addEventListener("change", () => { if (jump.value !== "") toStep(Number(jump.value)); });
at("overview").addEventListener("click", event => {
  const i = Math.floor(event.offsetX / event.target.clientWidth * row.context);
  if (i < cells.length) { choose(i, { scroll: true }); cells[i].scrollIntoView({ block: "center" }); }
});
tabs.forEach((tab, i) => tab.addEventListener("click", () => { drawRow(i); choose(null); }));
tabs[0]?.parentNode.addEventListener("keydown", event => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  drawRow((state.row + by + rows.length) % rows.length);
  choose(null);
  tabs[state.row].focus();
});
addEventListener("resize", drawOverview);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawOverview);

// An address that ends in #row=3&token=17 opens at that row and token.
function openAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const number = rows.findIndex(({ row }) => String(row) == wanted.get("row"));
  drawRow(Math.max(number, 0));
  const token = wanted.get("token");
  if (number >= 0 && token !== null && cells[token]) { choose(Number(token)); cells[token].scrollIntoView({ block: "center" }); }
}
addEventListener("hashchange", openAddress);
if (rows.length) openAddress();

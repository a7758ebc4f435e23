// Draws the scenes that arrive, and sends keys and buttons. See page.py for the messages.
"use strict";
const NAMES = {ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "space", Enter: "enter"};
const STATUS = {
  loading: "loading", ready: "ready", playing: "playing", paused: "paused", ended: "the episode has ended",
  failed: "the episode cannot go on",
};
const $ = id => document.getElementById(id);
const canvas = $("frame"), pen = canvas.getContext("2d");
let socket, scene = null, shownHints = "", mapped = new Set(), held = new Set();

const send = message => { if (socket.readyState == WebSocket.OPEN) socket.send(JSON.stringify(message)) };

function connect() {
  socket = new WebSocket(`ws://${location.host}/`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = async event => {
    try { await show(event.data) } finally { send({do: "drawn"}) }
  };
  socket.onclose = () => {
    say("The connection has ended. It is tried again.");
    disable(true);
    setTimeout(connect, 1000);
  };
}

async function show(message) {
  const length = new DataView(message).getUint32(0);
  scene = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  if (message.byteLength > 4 + length) {
    const picture = await createImageBitmap(new Blob([new Uint8Array(message, 4 + length)]));
    if (canvas.width != picture.width || canvas.height != picture.height) {
      [canvas.width, canvas.height] = [picture.width, picture.height];
      canvas.classList.toggle("small", picture.width * picture.height <= 256 * 256);
    }
    pen.drawImage(picture, 0, 0);
    picture.close();
  }
  const number = value => String(Number(value.toPrecision(4)));
  $("instruction").textContent = scene.instruction;
  $("step").textContent = scene.max_steps ? `${scene.step} / ${scene.max_steps}` : scene.step;
  $("reward").textContent = number(scene.reward);
  $("return").textContent = number(scene.episode_return);
  $("seed").textContent = scene.seed;
  $("action").textContent = scene.action || "none";
  let status = STATUS[scene.status];
  if (scene.status == "ended" && scene.success !== null) status += scene.success ? ": success" : ": no success";
  if (scene.status == "ready") status += scene.player == "person" ? ": the first key starts the episode" : ": press Start";
  $("status").textContent = status;
  $("status").className = {failed: "bad", ended: scene.success ? "good" : ""}[scene.status] ?? "";
  const plays = scene.role == "player";
  say(plays ? scene.message : "Another tab plays. This one looks on.");
  showButtons(plays);
  showKeys(plays);
  const kept = Object.entries(scene.kept).filter(([, count]) => count).map(([player, count]) => `${count} of ${player}`);
  $("kept").textContent = kept.join(", ") || "none yet";
}

function showButtons(plays) {
  const runs = scene.status == "playing", over = scene.status == "ended" || scene.status == "failed";
  $("start").textContent = runs ? "Pause" : "Start";
  $("start").dataset.do = runs ? "pause" : "start";
  disable(!plays);
  if (plays) for (const name of ["start", "step"])
    for (const button of document.querySelectorAll(name == "step" ? "[data-do=step]" : "#start"))
      button.disabled = over || scene.status == "loading";
  $("keep").disabled = !plays || !scene.can_keep || scene.is_kept || scene.status == "failed";
  $("keep").setAttribute("aria-pressed", scene.keeps);
  $("keep").textContent = scene.is_kept ? "Kept" : scene.keeps ? "Kept at its end" : "Keep this episode";
  const select = $("player");
  if (select.options.length != scene.players.length)
    select.replaceChildren(...scene.players.map(name => new Option(name, name)));
  if (document.activeElement != select) select.value = scene.next_player;
  select.disabled = !plays || scene.players.length < 2;
}

function showKeys(plays) {
  $("keys").hidden = !scene.hints.length || !plays;
  $("speeds").hidden = !scene.has_speed;
  if (document.activeElement != $("speed")) $("speed").value = scene.speed;
  $("how").textContent = (scene.waits ? "Each key is one step." : "Hold the keys.")
    + (scene.unmapped ? ` ${scene.unmapped} further numbers stay at rest.` : "");
  const hints = JSON.stringify(scene.hints);
  if (hints == shownHints) return;
  shownHints = hints;
  mapped = new Set(scene.hints.map(([key]) => key));
  $("hints").replaceChildren(...scene.hints.map(([key, effect]) => {
    const button = document.createElement("button"), cap = document.createElement("kbd");
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.key = key;
    cap.textContent = NAMES[key] ?? key;
    button.append(cap, effect);
    button.onpointerdown = event => { event.preventDefault(); press(key, false) };
    button.onpointerup = button.onpointercancel = button.onpointerleave = () => release(key);
    return button;
  }));
}

function disable(all) {
  for (const button of $("buttons").children) button.disabled = all;
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

function press(key, repeat) {
  held.add(key);
  light(key);
  send({do: "press", key, repeat});
}

function release(key) {
  if (!held.delete(key)) return;
  light(key);
  send({do: "release", key});
}

function releaseAll() {
  for (const key of [...held]) release(key);
  send({do: "release"});
}

function light(key) {
  for (const button of $("hints").children)
    if (button.dataset.key == key) button.classList.toggle("down", held.has(key));
}

// A key as the server names it, null if it is meant for the browser or for a control of the page.
function keyOf(event) {
  const key = event.key.length == 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey || event.altKey || !mapped.has(key)) return null;
  const control = event.target.closest?.("button, select, input");
  return control && (control.tagName != "BUTTON" || key == " " || key == "Enter") ? null : key;
}

addEventListener("keydown", event => {
  if (event.key == "Escape" && scene) return send({do: $("start").dataset.do});
  const key = keyOf(event);
  if (key === null || scene?.player != "person") return;
  event.preventDefault();  // neither scroll nor search
  press(key, event.repeat);
});
addEventListener("keyup", event => {
  const key = event.key.length == 1 ? event.key.toLowerCase() : event.key;
  release(key);
});
addEventListener("blur", releaseAll);
addEventListener("visibilitychange", () => { if (document.hidden) releaseAll() });
$("buttons").onclick = event => {
  const button = event.target.closest("button");
  if (!button) return;
  send({do: button.dataset.do});
  if (event.detail) canvas.focus({preventScroll: true});  // by mouse: the next keys are for the task
};
$("player").onchange = event => { send({do: "player", player: event.target.value}); canvas.focus({preventScroll: true}) };
$("speed").oninput = event => send({do: "speed", speed: Number(event.target.value)});
$("speed").onchange = () => canvas.focus({preventScroll: true});
connect();

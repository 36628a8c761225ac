"use strict";
// The preview page: draws frames and state from one WebSocket, sends messages with OSC addresses back.
const byId = (id) => document.getElementById(id);
const picture = byId("picture"), pen = picture.getContext("2d");
const spectrum = byId("spectrum"), chart = spectrum.getContext("2d");
let socket = null, state = null;

const send = (address, ...args) => {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ address, args }));
};

async function draw(blob) {
  const image = await createImageBitmap(blob);
  if (picture.width !== image.width || picture.height !== image.height) {
    picture.width = image.width;
    picture.height = image.height;
  }
  pen.drawImage(image, 0, 0);
  image.close();
  picture.dataset.frames = Number(picture.dataset.frames || 0) + 1;
  if (socket && socket.readyState === WebSocket.OPEN) socket.send("drawn");
}

function fill(parent, count, make) {
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(make(parent.children.length));
}

function showPresets(names) {
  byId("presets").replaceChildren(...names.map((name, i) => {
    const button = document.createElement("button");
    button.textContent = `${i + 1}  ${name}`;
    button.onclick = () => send("/vj/preset/go", i + 1);
    return button;
  }));
}

function showBeat() {
  fill(byId("bar"), state.beats_per_bar, (i) => Object.assign(document.createElement("i"), { className: i ? "" : "one" }));
  const lit = state.bpm > 0 && state.phase < 0.35;
  [...byId("bar").children].forEach((lamp, i) => lamp.classList.toggle("on", lit && i === state.position));
  byId("bpm").textContent = state.bpm > 0 ? state.bpm.toFixed(1) : "--";
}

function showSound() {
  ["kick", "snare", "hat"].forEach((name, i) => byId(name).style.setProperty("--hit", state.drums[i]));
  const names = Object.keys(state.bands);
  fill(byId("bands"), names.length, (i) => {
    const bar = document.createElement("div");
    bar.append(Object.assign(document.createElement("span"), { textContent: names[i] }));
    return bar;
  });
  names.forEach((name, i) => byId("bands").children[i].style.setProperty("--level", state.bands[name]));
  chart.clearRect(0, 0, spectrum.width, spectrum.height);
  const step = spectrum.width / state.spectrum.length;
  state.spectrum.forEach((value, i) => {
    chart.fillStyle = `hsl(${190 + i * 4} 90% 60%)`;
    chart.fillRect(i * step + 1, spectrum.height * (1 - value), step - 2, spectrum.height * value);
  });
}

function showHealth() {
  const ms = (name) => {
    const row = state.latency_ms[name];
    return row && row.p50 !== undefined ? `${row.p50.toFixed(1)} / ${row.p95.toFixed(1)} ms` : "–";
  };
  const rows = [
    ["sound → OSC", ms("audio_to_osc")], ["sound → frame", ms("audio_to_frame")], ["frame → output", ms("frame_to_output")],
    ["frames/s", `${state.fps.generated.toFixed(0)}`],
    ["made by", state.generator],
    ...Object.entries(state.outputs).map(([name, out]) => [name, out.alive ? `${out.fps.toFixed(0)} fps` : "off"]),
  ];
  fill(byId("health"), rows.length, () => {
    const row = document.createElement("tr");
    row.append(document.createElement("td"), document.createElement("td"));
    return row;
  });
  rows.forEach(([name, value], i) => {
    const cells = byId("health").children[i].children;
    cells[0].textContent = name;
    cells[1].textContent = value;
  });
  const troubles = Object.entries(state.troubles).map(([what, why]) => `${what}: ${why}`);
  fill(byId("troubles"), troubles.length, () => document.createElement("li"));
  troubles.forEach((text, i) => { byId("troubles").children[i].textContent = text; });
}

function showMaster() {
  byId("blackout").setAttribute("aria-pressed", state.blackout);
  byId("freeze").setAttribute("aria-pressed", state.freeze);
  if (document.activeElement !== byId("fade")) byId("fade").value = state.fade;
  const heaviest = state.prompts.reduce((best, row) => (row[1] > best[1] ? row : best), ["", 0]);
  if (document.activeElement !== byId("prompt")) byId("prompt").value = heaviest[0];
  [...byId("presets").children].forEach((button, i) => button.setAttribute("aria-pressed", i === state.preset));
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/ws`);
  socket.binaryType = "blob";
  socket.onopen = () => { byId("link").textContent = "live"; byId("link").classList.remove("lost"); };
  socket.onclose = () => {
    byId("link").textContent = "connection lost, trying again";
    byId("link").classList.add("lost");
    setTimeout(connect, 800);
  };
  socket.onmessage = (event) => {
    if (typeof event.data !== "string") { draw(event.data); return; }
    const data = JSON.parse(event.data);
    if (data.presets) { showPresets(data.presets); return; }
    state = data;
    showBeat(); showSound(); showHealth(); showMaster();
  };
}

byId("tap").onpointerdown = () => send("/vj/tempo/tap");
byId("blackout").onclick = () => send("/vj/master/blackout", state && state.blackout ? 0 : 1);
byId("freeze").onclick = () => send("/vj/master/freeze", state && state.freeze ? 0 : 1);
byId("fade").oninput = (event) => send("/vj/master/fade", Number(event.target.value));
byId("prompt-form").onsubmit = (event) => {
  event.preventDefault();
  const slot = state ? state.prompts.reduce((best, row, i, all) => (row[1] > all[best][1] ? i : best), 0) : 0;
  send(`/vj/prompt/${slot + 1}/text`, byId("prompt").value);
  byId("prompt").blur();
};
document.querySelectorAll("[data-send]").forEach((button) => { button.onclick = () => send(button.dataset.send); });
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.repeat) return;
  const actions = { t: () => send("/vj/tempo/tap"), r: () => send("/vj/tempo/resync"), b: byId("blackout").onclick, f: byId("freeze").onclick };
  if (actions[event.key]) actions[event.key]();
});
connect();

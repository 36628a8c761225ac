// Hold to talk: the microphone is open only while the button is held. Sound goes out in small pieces by POST, since phones
// refuse sockets to a certificate of our own; words come back with the answers, and, once the button is let go, when asked.
const PIECE_S = 0.25;
const ASK_MS = 400;
const PATIENCE_MS = 20000;
const GALLERY_MS = 2000;

const $ = (id) => document.getElementById(id);
const me = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
let since = 0;
let held = null; // what is open while the button is held
let asking = 0;
let patientUntil = 0;
let shown = 0;

const note = (text) => { $("note").textContent = text; };

function lamp(open) {
  $("microphone").className = `lamp ${open ? "open" : "closed"}`;
  $("microphone").textContent = open ? "microphone open" : "microphone closed";
}

async function call(path, options) {
  const answer = await fetch(`/speak/${path}`, { credentials: "same-origin", ...options });
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.error ?? `the server said ${answer.status}`);
  return data;
}

function take(news) {
  for (const row of news.rows ?? []) {
    since = Math.max(since, row.count);
    const box = $("words");
    box.replaceChildren();
    const agreed = row.kind === "partial" && row.text.startsWith(row.agreed) ? row.agreed : row.text;
    box.append(agreed);
    if (agreed !== row.text) {
      const late = document.createElement("span");
      late.className = "late";
      late.textContent = row.text.slice(agreed.length);
      box.append(late);
    }
    if (row.kind !== "partial") {
      patientUntil = Math.min(patientUntil, performance.now() + (row.kind === "final" ? 3000 : 0));
      note(row.waits ? "it waits for the VJ" : row.phrase ? `on the wall with the next bar: ${row.phrase}` : row.text ? "heard; there was no picture in it" : "nothing was understood");
    }
  }
  if (news.privacy) $("privacy").textContent = news.privacy;
  if (news.off) note(news.off);
}

async function ask() {
  clearTimeout(asking);
  try { take(await call(`news?talker=${me}&since=${since}`)); } catch (error) { note(error.message); }
  if (performance.now() < patientUntil) asking = setTimeout(ask, ASK_MS);
}

class Holding {
  // Everything that is open while the button is held; made inside the touch, as phones want it.
  constructor() {
    this.pieces = [];
    this.count = 0;
    this.over = false;
    this.sending = Promise.resolve();
    this.context = new (window.AudioContext ?? window.webkitAudioContext)();
    this.ready = this.open();
  }

  async open() {
    const constraints = { audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } };
    this.stream = await navigator.mediaDevices.getUserMedia(constraints);
    if (this.over) { this.shut(); return; }
    lamp(true);
    note("");
    this.stream.getAudioTracks()[0].onended = () => release("the microphone has gone");
    await this.context.audioWorklet.addModule("/speak/worklet.js");
    await this.context.resume();
    this.tap = new AudioWorkletNode(this.context, "tap");
    this.tap.port.onmessage = ({ data }) => { this.pieces.push(data); this.count += data.length; if (this.count >= PIECE_S * this.context.sampleRate) this.send(false); };
    this.context.createMediaStreamSource(this.stream).connect(this.tap);
    if (this.over) this.shut();
  }

  send(ends) {
    const samples = new Int16Array(this.count);
    let at = 0;
    for (const piece of this.pieces) for (const value of piece) samples[at++] = Math.max(-1, Math.min(1, value)) * 32767;
    this.pieces = [];
    this.count = 0;
    const path = `sound?talker=${me}&since=${since}&rate=${Math.round(this.context.sampleRate)}&ends=${ends ? 1 : 0}`;
    this.sending = this.sending.then(() => call(path, { method: "POST", body: samples.buffer, keepalive: ends && samples.length < 30000 }).then(take))
      .catch((error) => { note(error.message); });
    return this.sending;
  }

  shut() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context.close().catch(() => {});
    lamp(false);
  }

  async end() {
    if (this.over) return;
    this.over = true;
    await this.ready.catch(() => {});
    this.shut();
    await this.send(true);
  }
}

function press(event) {
  event.preventDefault();
  if (held) return;
  $("talk").classList.add("held");
  $("talk").textContent = "listening …";
  $("words").replaceChildren();
  try { $("talk").setPointerCapture(event.pointerId); } catch { /* a key, or a pointer that has gone */ }
  held = new Holding();
  held.ready.catch((error) => {
    const refused = error.name === "NotAllowedError" || error.name === "SecurityError";
    release(refused ? "the microphone was refused: allow it in the browser's settings for this page" : `no microphone: ${error.message}`);
  });
}

async function release(why = "") {
  const holding = held;
  held = null;
  $("talk").classList.remove("held");
  $("talk").textContent = "hold to talk";
  lamp(false);
  if (holding) {
    patientUntil = performance.now() + PATIENCE_MS;
    await holding.end();
    if (why) { patientUntil = 0; note(why); } else { note("writing it down …"); ask(); }
  }
}

async function sendMemo() {
  const [file] = $("file").files;
  if (!file) return;
  note("sending …");
  try {
    await call(`memo?talker=${me}`, { method: "POST", body: file });
    note("writing it down …");
    patientUntil = performance.now() + PATIENCE_MS;
    ask();
  } catch (error) { note(error.message); }
  $("file").value = "";
}

async function look() {
  try {
    const { pictures } = await call(`gallery?since=${shown}`);
    for (const { number, phrase } of pictures) {
      shown = Math.max(shown, number);
      const figure = document.createElement("figure");
      const image = document.createElement("img");
      image.src = `/speak/picture/${number}.jpg`;
      image.alt = phrase;
      const caption = document.createElement("figcaption");
      caption.textContent = phrase;
      figure.append(image, caption);
      $("gallery").prepend(figure);
      while ($("gallery").children.length > 48) $("gallery").lastChild.remove();
    }
  } catch { /* it is asked again */ }
  setTimeout(look, GALLERY_MS);
}

const talk = $("talk");
talk.addEventListener("pointerdown", press);
for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) talk.addEventListener(kind, () => release());
talk.addEventListener("keydown", (event) => { if ((event.key === " " || event.key === "Enter") && !event.repeat) press(event); });
talk.addEventListener("keyup", (event) => { if (event.key === " " || event.key === "Enter") release(); });
talk.addEventListener("contextmenu", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (document.hidden && held) release("the page was hidden: let go"); });
window.addEventListener("pagehide", () => { if (held) release(); });
window.addEventListener("blur", () => { if (held) release(); });
$("file").addEventListener("change", sendMemo);

if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
  talk.hidden = true;
  $("memo").hidden = false;
  call("secure").then(({ page, trust }) => {
    if (!page) return;
    const box = $("secure");
    const [here, there] = [document.createElement("a"), document.createElement("a")];
    here.href = trust; here.textContent = "trust this server once";
    there.href = page; there.textContent = "open this page by https";
    box.append("or ", here, ", then ", there, ": there the microphone works.");
  }).catch((error) => note(error.message));
}
ask();
look();

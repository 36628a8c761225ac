// What both private pages share: asking, telling, and a recorder whose sound lies on the disk a second after it was said.
const PIECE_S = 1.0;

export const $ = (id) => document.getElementById(id);

export function note(text, bad = false) {
  $("note").textContent = text;
  $("note").className = bad ? "bad" : "";
}

export async function call(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: body instanceof Blob || body instanceof ArrayBuffer ? body : JSON.stringify(body) };
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(data.error ?? `the server said ${answer.status}`), { told: true, again: answer.status === 503 });
  return data;
}

/** Do what somebody asked for, and say what was wrong with it. */
export async function doing(deed) {
  try { note(""); return await deed(); } catch (error) { note(error.told ? error.message : `the server does not answer: is vjserver still open? (${error.message})`, true); return null; }
}

export function make(tag, fields = {}, ...inside) {
  const { data, ...plain } = fields;
  const element = Object.assign(document.createElement(tag), plain);
  for (const [name, value] of Object.entries(data ?? {})) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

export const button = (text, onclick, more = {}) => make("button", { type: "button", textContent: text, onclick, ...more });

export const sure = (question) => window.confirm(question);

const name = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** Records into `path`/sound while `element` is pressed once and until it is pressed again. */
export class Recorder {
  constructor(element, path, asked, done) {
    Object.assign(this, { element, path, asked, done, running: null, label: element.textContent });
    element.addEventListener("click", () => void this.toggle());
    window.addEventListener("beforeunload", (event) => { if (this.running) event.preventDefault(); });
  }

  async toggle() {
    if (this.running) { await this.end(); return; }
    const asked = this.asked();
    if (asked === null) return;
    const context = new AudioContext(); // made inside the press, as phones want it
    const running = { context, pieces: [], count: 0, number: 0, heard: 0, peak: 0, sending: Promise.resolve(), asked, name: name() };
    this.running = running;
    try {
      running.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true } });
      if (this.running !== running || running.ending) { running.stream.getTracks().forEach((track) => track.stop()); return; }
      await context.audioWorklet.addModule("/files/worklet.js");
      await context.resume();
      running.tap = new AudioWorkletNode(context, "tap");
      running.tap.port.onmessage = ({ data }) => {
        running.pieces.push(data);
        running.count += data.length;
        running.heard += data.length;
        for (const value of data) running.peak = Math.max(running.peak, Math.abs(value));
        if (running.count >= PIECE_S * context.sampleRate) this.send(false);
      };
      context.createMediaStreamSource(running.stream).connect(running.tap);
      running.stream.getAudioTracks()[0].onended = () => void this.end("the microphone has gone: what was said until then is kept");
      this.element.classList.add("open");
      this.show();
      note("recording: press again when you are done");
    } catch (error) {
      this.shut();
      this.running = null;
      const refused = error.name === "NotAllowedError" || error.name === "SecurityError";
      note(refused ? "the microphone was refused: allow it in the browser's settings for this page" : `no microphone: ${error.message}`, true);
    }
  }

  show() {
    const running = this.running;
    if (!running || running.ending) return;
    this.element.textContent = `${clock(running.heard / running.context.sampleRate)}  stop`;
    this.element.style.setProperty("--level", Math.min(1, Math.sqrt(running.peak)).toFixed(2));
    running.peak *= 0.6;
    setTimeout(() => this.show(), 200);
  }

  /** Send what was heard since; each piece has a number, so that one which is sent twice is taken once. */
  send(ends) {
    const running = this.running;
    const samples = new Int16Array(running.count);
    let at = 0;
    for (const piece of running.pieces) for (const value of piece) samples[at++] = Math.max(-1, Math.min(1, value)) * 32767;
    running.pieces = [];
    running.count = 0;
    running.sending = running.sending.then(() => this.deliver(running, samples.buffer, ends));
    running.sending.catch((error) => { if (!ends) note(`the recording is not taken: ${error.message}`, true); });
    return running.sending;
  }

  async deliver(running, piece, ends) {
    for (let i = 0; ; i++) {
      const query = new URLSearchParams({ ...running.asked, name: running.name, rate: Math.round(running.context.sampleRate), piece: running.number, ends: ends ? 1 : 0 });
      try {
        const made = await call(`${this.path}/sound?${query}`, piece);
        running.number += 1;
        if (i) note("the server takes it again");
        return made;
      } catch (error) {
        if (error.told && running.number && error.message.includes("not begun here")) { // it was started anew: what it had is kept there
          running.name = name();
          running.number = 0;
        } else if (error.told && !error.again) throw error;
        else {
          note("the server does not take it: it is sent again and again; leave this page open", true);
          await new Promise((go) => setTimeout(go, Math.min(5000, 500 * (i + 1))));
        }
      }
    }
  }

  shut() {
    this.running?.stream?.getTracks().forEach((track) => track.stop());
    this.running?.context.close().catch(() => {});
    this.element.classList.remove("open");
    this.element.textContent = this.label;
  }

  async end(why = "") {
    if (!this.running || this.running.ending) return;
    this.running.ending = true;
    this.shut();
    const sent = this.send(true);
    const made = await doing(() => sent);
    this.running = null;
    if (made) { note(why || "kept. It is written down now; you can go on."); this.done(made); }
  }
}

/** Have a voice memo sent as a file. */
export function takeFile(input, path, asked, done) {
  input.addEventListener("change", async () => {
    const [file] = input.files;
    const more = asked();
    input.value = "";
    if (!file || more === null) return;
    const made = await doing(() => { note("sending …"); return call(`${path}/file?${new URLSearchParams(more)}`, file); });
    if (made) { note("kept. It is written down now."); done(made); }
  });
}

/** Load a file that is made on demand; what is wrong is said. */
export async function load(path, name) {
  await doing(async () => {
    note("making the file …");
    const answer = await fetch(path, { credentials: "same-origin" });
    if (!answer.ok) throw Object.assign(new Error((await answer.json().catch(() => ({}))).error ?? answer.statusText), { told: true });
    const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    note("");
  });
}

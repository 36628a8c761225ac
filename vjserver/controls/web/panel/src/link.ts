// The link to the server: one WebSocket. Values, sound and health come in and are kept here; messages go out.
import { useEffect, useState } from "preact/hooks";

export type Value = number | string | boolean;
export interface Argument { type: "float" | "int" | "bool" | "text" | "name"; low: number; high: number; unit: string; optional: boolean }
export interface Entry { address: string; kind: "parameter" | "action"; arguments: Argument[]; choices: string[]; doc: string; default: Value | null; knob: string; group: string; labels: string[] }
export interface Preset { number: number; thumb: boolean; slug: string; name: string; bank: string; description: string; tags: string[] }
export interface Hello { addresses: Entry[]; generators: Record<string, string[]>; outputs: string[]; banks: string[]; presets: Preset[]; cues: { id: string; name: string }[] }
export interface Times { p50?: number; p95?: number }
export interface Output { alive: boolean; fps: number; drops: number; figures: Record<string, number> }
export type Note = [number: number, kind: "error" | "ok" | "message", what: string, why: string];
export type Heard = [number: number, by: string, address: string, args: Value[]];
export interface Live {
  beat: number; phase: number; position: number; beats_per_bar: number; bpm: number; confidence: number;
  level: number; silence: boolean; drums: number[]; bands: Record<string, number>; spectrum: number[];
  preset_name: string; macro_names: string[]; pending: [string, number][]; cue: [string, string]; morph: number | null;
  take: string; snapshots: number[]; latency_ms: Record<string, Times>; fps: { generated: number; delivered: number };
  t_ms: number; outputs: Record<string, Output>; picture: string; generator: string; figures: Record<string, number>;
  troubles: Record<string, string>; notes: Note[]; speech: Speech;
}
export interface Speech {
  microphone: string; leaves: string; ready: boolean; speaking: boolean; level: number; text: string; phrase: string; confidence: number;
  lag_s: number; waiting: [number: number, who: string, phrase: string][];
}
export type Status = "connecting" | "live" | "silent" | "lost"; // silent: connected, and the server says nothing

class Topic<T> {
  private readonly listeners = new Set<() => void>();
  constructor(public value: T) {}
  set(value: T) { this.value = value; this.listeners.forEach((tell) => tell()); }
  listen(tell: () => void) { this.listeners.add(tell); return () => { this.listeners.delete(tell); }; }
}

function useTopic<T>(topic: Topic<T>): T {
  const [value, set] = useState(topic.value);
  useEffect(() => { set(topic.value); return topic.listen(() => set(topic.value)); }, [topic]);
  return value;
}

const values = new Map<string, Topic<Value | undefined>>();
const hello = new Topic<Hello | null>(null);
const live = new Topic<Live | null>(null);
const status = new Topic<Status>("connecting");
const notes = new Topic<(Note & { at?: Date })[]>([]);
const heard = new Topic<{ rows: Heard[]; leftOut: number }>({ rows: [], leftOut: 0 });
const learning = new Topic<string | null>(null); // null: not learning; "": waiting for a control of the panel

const taken = new Map<string, Value>(); // what the server said last

function topic(address: string) {
  let found = values.get(address);
  if (!found) values.set(address, (found = new Topic<Value | undefined>(undefined)));
  return found;
}

export const useValue = (address: string) => useTopic(topic(address));
export const useHello = () => useTopic(hello);
export const useLive = () => useTopic(live);
export const useStatus = () => useTopic(status);
export const useNotes = () => useTopic(notes);
export const useHeard = () => useTopic(heard);
export const useLearning = () => useTopic(learning);
export const read = (address: string) => topic(address).value;
export const entryOf = (address: string) => hello.value?.addresses.find((row) => row.address === address);
export const setLearning = (address: string | null) => learning.set(address);

const AHEAD_MS = 30_000;
const GONE_MS = 4000; // a connection may be dead without anybody saying so
const SILENT_MS = 1000; // it says something 25 times a second
const MOST_HEARD = 300;
const MOST_NOTES = 100;
const FLUSH_MS = 16; // a fader sends no faster than pictures change
let socket: WebSocket | null = null;
let monitoring = false;
let draw: (picture: Blob, stamp_ms: number) => Promise<void> = async () => {};
const waiting = new Map<string, Value>();
let flushing = 0;
let heard_ms = 0; // when the server was last heard, by our clock
let ahead_ms = -Infinity; // how far its clock is ahead of ours, by what came quickest of late
let ahead_since_ms = 0;
let own_notes = 0;

/** Send a message; what it changes is shown when the server says so. Nothing is sent to a server that is not there. */
export function send(address: string, ...args: Value[]) {
  waiting.delete(address);
  post(address, args, true);
}

/** Send a message, and ask to be told of its own value if it is not shown already. */
function post(address: string, args: Value[], tell: boolean) {
  if (status.value === "live" && socket?.readyState === WebSocket.OPEN) {
    const at = ahead_ms + performance.now(); // too old when it is read, it is not taken
    socket.send(JSON.stringify({ address, args, at, tell }));
    if (!tell) taken.set(address, args[0]); // the server does not say again what it was told
  } else refuse(address, "the server does not answer: nothing was sent");
}

/** Say that a message was not taken, and show again what the server has. */
function refuse(address: string, why: string) {
  const note = [--own_notes, "error", address.replace("/vj/", ""), why] as unknown as Note;
  notes.set([...notes.value, Object.assign(note, { at: new Date() })].slice(-MOST_NOTES));
  meant.delete(address);
  topic(address).set(taken.get(address));
}

/** Set a value by a fader: shown at once, sent with the next flush; of many in between only the last is sent. */
export function put(address: string, value: Value) {
  if (status.value === "live") topic(address).set(value);
  waiting.set(address, value);
  if (!flushing) flushing = window.setTimeout(flush, FLUSH_MS);
}

function flush() {
  flushing = 0;
  waiting.forEach((value, address) => post(address, [value], false));
  waiting.clear();
}

/** Forget a value that is not sent yet. */
export const forget = (address: string) => { waiting.delete(address); };

const MEANT_MS = 400;
const meant = new Map<string, { value: number; until: number }>();

/** Press a switch: the other way round than it is, or than was meant a moment ago, until the server has said so. */
export function toggle(address: string) {
  const last = meant.get(address);
  const value = (last && performance.now() < last.until ? last.value : read(address)) ? 0 : 1;
  meant.set(address, { value, until: performance.now() + MEANT_MS });
  send(address, value);
}

export const onPicture = (how: typeof draw) => { draw = how; };

export function monitor(on: boolean) {
  monitoring = on;
  if (on) heard.set({ rows: [], leftOut: 0 });
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ monitor: on }));
}

function take(data: Record<string, unknown>) {
  if (data.hello) hello.set(data.hello as Hello);
  if (data.values) {
    for (const [address, value] of Object.entries(data.values as Record<string, Value>)) {
      taken.set(address, value);
      meant.delete(address);
      topic(address).set(value);
    }
  }
  if (data.late) refuse(data.late as string, "it came too late, and was left out: press again");
  if (data.live) {
    const next = data.live as Live;
    heard_ms = performance.now();
    if (next.t_ms - heard_ms > ahead_ms || heard_ms - ahead_since_ms > AHEAD_MS) {
      ahead_ms = next.t_ms - heard_ms;
      ahead_since_ms = heard_ms;
    }
    if (status.value !== "live") status.set("live");
    live.set(next);
    if (next.notes.length) {
      const at = new Date();
      const fresh = next.notes.map((note) => Object.assign([...note] as unknown as Note, { at }));
      notes.set([...notes.value, ...fresh].slice(-MOST_NOTES));
      if (next.notes.some(([, kind, what]) => kind === "ok" && what === "midi") && learning.value) learning.set("");
    }
  }
  if (data.monitor) {
    const rows = [...heard.value.rows, ...(data.monitor as Heard[])].slice(-MOST_HEARD);
    heard.set({ rows, leftOut: heard.value.leftOut + Number(data.left_out ?? 0) });
  }
}

async function show(data: ArrayBuffer) {
  const stamp = new DataView(data).getFloat64(0, true);
  try {
    await draw(new Blob([new Uint8Array(data, 8)], { type: "image/jpeg" }), stamp);
  } finally {
    if (socket?.readyState === WebSocket.OPEN) socket.send("drawn");
  }
}

/** Notice a server that hangs: its last words are no truth any more. */
export function watch() {
  window.setInterval(() => {
    const silent_ms = performance.now() - heard_ms;
    if (status.value === "live" && silent_ms > SILENT_MS) status.set("silent");
    if (status.value === "silent" && silent_ms > GONE_MS && socket) {
      const dead = socket;
      dead.onmessage = dead.onclose = dead.onopen = null;
      dead.close();
      heard_ms = performance.now();
      status.set("lost");
      connect();
    }
  }, 200);
}

export function connect(patience_ms = 400) {
  const own = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket = own;
  own.binaryType = "arraybuffer"; // a blob would be read by way of another process
  own.onopen = () => {
    patience_ms = 400;
    ahead_ms = -Infinity; // it may be another server
    notes.set([]);
    if (monitoring) monitor(true);
  };
  own.onmessage = (event) => {
    if (typeof event.data === "string") take(JSON.parse(event.data));
    else void show(event.data as ArrayBuffer);
  };
  own.onclose = () => {
    status.set("lost");
    window.setTimeout(() => connect(Math.min(patience_ms * 1.5, 3000)), patience_ms);
  };
}

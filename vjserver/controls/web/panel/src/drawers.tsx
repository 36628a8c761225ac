// Drawers: everything that is not needed every minute. Settings of every address, messages, health, keys.
import { Fragment } from "preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { Fader, Line, Number_, Press, Select, Switch } from "./controls";
import { monitor, send, setLearning, useHeard, useHello, useLearning, useLive, useNotes, useValue, type Entry, type Value } from "./link";
import { ms } from "./stage";

export const KEYS: [string, string][] = [
  ["T", "tap the tempo"], ["R", "now is the first beat of the bar"], ["B", "blackout"], ["F", "freeze"], ["S", "safe loop"],
  ["P (hold)", "panic"], ["← →", "previous, next preset"], ["1 … 9", "preset 1 … 9"], ["Space", "next cue"],
  ["Q", "quantise: next"], ["A", "autopilot"], ["N", "next prompt of the queue"], ["V (hold)", "talk"], ["Z, Shift+Z", "undo, redo"],
  ["L", "MIDI learn"], ["H", "health"], ["M", "messages"], [", or /", "settings"], ["?", "these keys"], ["Esc", "close"],
];

export function Drawer({ name, close }: { name: string; close: () => void }) {
  const titles: Record<string, string> = { settings: "Settings", monitor: "Messages", health: "Doors and health", keys: "Keys" };
  return (
    <aside class="drawer" role="dialog" aria-label={titles[name]}>
      <div class="row">
        <h2>{titles[name]}</h2>
        <button class="press" aria-label="close" onClick={close}>✕</button>
      </div>
      {name === "settings" && <Settings />}
      {name === "monitor" && <Monitor />}
      {name === "health" && <Health />}
      {name === "keys" && <Keys />}
    </aside>
  );
}

/** Focus an input when it appears, and not again. */
function useFocus() {
  return useCallback((box: HTMLInputElement | null) => box?.focus(), []);
}

function Settings() {
  const hello = useHello();
  const [search, setSearch] = useState("");
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = useMemo(
    () => (hello?.addresses ?? []).filter((entry) => !/\/(raw|inc|reset)$/.test(entry.address))
      .filter((entry) => words.every((word) => `${entry.address} ${entry.doc}`.toLowerCase().includes(word))),
    [hello, search],
  );
  const kinds = hello?.generators ?? {};
  const playing = [useValue("/vj/generator"), useValue("/vj/input")].map(String).filter((kind) => kind in kinds);
  /** Whether what plays does anything with a knob; other settings are always heeded. */
  const heeded = ({ knob }: Entry) => !knob || !playing.length
    || playing.some((kind) => (knob.includes("/") ? knob.startsWith(`${kind}/`) : kinds[kind].includes(knob)));
  return (
    <>
      <input class="line search" type="search" aria-label="search the settings" placeholder="search: palette, tempo, fps …"
        ref={useFocus()}
        value={search} onInput={(event) => setSearch(event.currentTarget.value)}
        onKeyDown={(event) => { if (event.key !== "Escape") event.stopPropagation(); }} />
      <div class="settings">
        {found.map((entry, i) => (
          <Fragment key={entry.address}>
            {i > 0 && heading(entry) !== heading(found[i - 1]) && <h3>{heading(entry) || "the show"}</h3>}
            {i === 0 && heading(entry) && <h3>{heading(entry)}</h3>}
            <div class={heeded(entry) ? "setting" : "setting idle"} title={heeded(entry) ? undefined : "what plays does not heed it"}>
              <Setting entry={entry} />
              <code>{entry.address}</code>
              <p>{entry.doc}</p>
            </div>
          </Fragment>
        ))}
        {!found.length && <p>nothing is called so</p>}
      </div>
    </>
  );
}

/** What stands above the knobs of a group: whose they are, and what they are about. */
const heading = (entry?: Entry) => (entry?.knob ? [...entry.knob.split("/").slice(0, -1), entry.group].filter(Boolean).join(" · ") : "");

function Setting({ entry }: { entry: Entry }) {
  const { address } = entry;
  const label = address.replace("/vj/", "");
  const [first] = entry.arguments;
  if (entry.kind === "action") {
    return entry.arguments.every((argument) => argument.optional) ? <Press address={address} label={label} /> : <Ask entry={entry} />;
  }
  if (entry.labels.length) return <Labels entry={entry} />;
  if (entry.choices.length) return <Select address={address} label={label} choices={entry.choices} />;
  if (first.type === "bool") return <Switch address={address} label={label} />;
  if (first.type === "text" || first.type === "name") return <Line address={address} label={label} />;
  return first.high - first.low <= 100 ? <Fader address={address} label={label} /> : <Number_ address={address} label={label} unit={first.unit} />;
}

/** A knob whose values have names. */
function Labels({ entry: { address, labels } }: { entry: Entry }) {
  const place = Math.round(Number(useValue(address) ?? 0) * (labels.length - 1));
  return (
    <select aria-label={address.replace("/vj/", "")} data-address={address} value={place}
      onChange={(event) => send(`${address}/raw`, Number(event.currentTarget.value))}>
      {labels.map((label, i) => <option key={label} value={i}>{label}</option>)}
    </select>
  );
}

/** An action with arguments: they are typed, and sent with Enter. */
function Ask({ entry }: { entry: Entry }) {
  const [text, setText] = useState("");
  const fire = (event: Event) => {
    event.preventDefault();
    const words = entry.arguments.length > 1 ? split(text, entry.arguments.length) : [text];
    const args: Value[] = words.map((word) => (word.trim() !== "" && !Number.isNaN(Number(word)) ? Number(word) : word));
    send(entry.address, ...args);
    setText("");
  };
  return (
    <form class="ask" onSubmit={fire}>
      <input class="line" aria-label={entry.address} value={text} placeholder={entry.arguments.map((a) => a.unit || a.type).join(", ")}
        onInput={(event) => setText(event.currentTarget.value)} onKeyDown={(event) => event.stopPropagation()} />
      <button class="press">SEND</button>
    </form>
  );
}

/** The first words, and the rest as one. */
function split(text: string, count: number) {
  const words = text.trim().split(/\s+/);
  return words.length <= count ? words : [...words.slice(0, count - 1), words.slice(count - 1).join(" ")];
}

function Monitor() {
  const heard = useHeard();
  const learning = useLearning();
  useEffect(() => { monitor(true); return () => monitor(false); }, []);
  return (
    <>
      <div class="row">
        <button class="press" aria-pressed={learning !== null} onClick={() => setLearning(learning === null ? "" : null)}>MIDI LEARN</button>
        {heard.leftOut > 0 && <span>{heard.leftOut} more than can be shown</span>}
      </div>
      <table class="heard" aria-label="messages as they come">
        <tbody>
          {[...heard.rows].reverse().map(([number, by, address, args]) => (
            <tr key={number}><td>{by}</td><td><code>{address}</code></td><td>{args.map((a) => (typeof a === "number" ? +a.toFixed(3) : a)).join(" ")}</td></tr>
          ))}
        </tbody>
      </table>
      {!heard.rows.length && <p>nothing yet: move a fader, press a pad, send OSC</p>}
    </>
  );
}

function Health() {
  const live = useLive();
  const notes = useNotes();
  if (!live) return null;
  const both = (name: string) => `${ms(live.latency_ms[name]?.p50)} / ${ms(live.latency_ms[name]?.p95)}`;
  const rows: [string, string][] = [
    ["sound to OSC, median / 95 %", both("audio_to_osc")], ["sound to picture", both("audio_to_frame")],
    ["picture to output", both("frame_to_output")], ["pictures made a second", live.fps.generated.toFixed(0)],
    ["made by", live.generator], ["on the wall", live.picture], ["trust in the tempo", `${Math.round(100 * live.confidence)} %`],
    ...Object.entries(live.figures).map(([name, value]) => [name.replaceAll("_", " "), String(+Number(value).toFixed(3))] as [string, string]),
    ...Object.entries(live.outputs).map(([name, out]) =>
      [name, out.alive ? `${out.fps.toFixed(0)} fps, ${out.drops} dropped` : "off"] as [string, string]),
  ];
  return (
    <>
      <ul class="troubles" role="alert">
        {Object.entries(live.troubles).map(([what, why]) => <li key={what}><b>{what}</b> {why}</li>)}
      </ul>
      <table class="figures"><tbody>{rows.map(([name, value]) => <tr key={name}><td>{name}</td><td>{value}</td></tr>)}</tbody></table>
      <h3>As it happened</h3>
      <ul class="notes">
        {[...notes].reverse().map((note) => (
          <li key={note[0]} class={note[1]}><time>{note.at?.toLocaleTimeString()}</time> <b>{note[2]}</b> {note[3]}</li>
        ))}
      </ul>
    </>
  );
}

function Keys() {
  return (
    <table class="figures"><tbody>
      {KEYS.map(([key, what]) => <tr key={key}><td><kbd>{key}</kbd></td><td>{what}</td></tr>)}
    </tbody></table>
  );
}

/** The last thing that went wrong, as it happens, and the way to the drawers. */
export function Footer({ open, drawer }: { open: (drawer: string) => void; drawer: string }) {
  const notes = useNotes();
  const live = useLive();
  const learning = useLearning();
  const last = notes.at(-1);
  const fresh = last?.at && Date.now() - last.at.getTime() < 8000 ? last : undefined;
  const trouble = Object.entries(live?.troubles ?? {})[0];
  const shown = fresh ?? (trouble ? [0, "error", ...trouble] as const : undefined);
  return (
    <footer>
      <p class={`said ${shown?.[1] ?? ""}`} role="alert" aria-live="polite">{shown ? `${shown[2]}: ${shown[3]}` : ""}</p>
      {learning !== null && <p class="said learn" role="status">{learning ? `move what shall play ${learning}` : "touch what shall be learnt"}</p>}
      {["settings", "monitor", "health", "keys"].map((name) => (
        <button key={name} class="press" aria-pressed={drawer === name} onClick={() => open(name)}>{name}</button>
      ))}
      <a class="press" href="/board" target="vjserver-board" title="cards of what was said or typed">boards</a>
      <button class="press" aria-pressed={learning !== null} title="MIDI learn (L)" onClick={() => setLearning(learning === null ? "" : null)}>learn</button>
    </footer>
  );
}

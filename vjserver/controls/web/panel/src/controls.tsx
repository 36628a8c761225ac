// The controls: each has an address, shows its value, and sends what the hand does. In learn mode it is picked instead.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { entryOf, forget, put, read, send, toggle, useLearning, useValue, type Value } from "./link";

const HOLD_MS = 800;
const KNOB = 20; // pixels, as in the style sheet

function useMark(address: string) {
  const learning = useLearning();
  return learning === null ? "" : learning === address ? " learning chosen" : " learning";
}

interface Faced { address: string; label: string; title?: string; children?: ComponentChildren; class?: string }

/** A button that sends its address, with arguments if it has some; lit while the value is that argument. */
export function Press({ address, label, title, args = [], lit, children, class: own = "", disabled = false }:
  Faced & { args?: Value[]; lit?: boolean; disabled?: boolean }) {
  const mark = useMark(address);
  return (
    <button type="button" class={`press ${own}${mark}`} data-address={address} aria-label={label} aria-pressed={lit} disabled={disabled}
      title={title ?? entryOf(address)?.doc} onClick={() => send(address, ...args)}>
      {children ?? label}
    </button>
  );
}

/** A button that is on or off. */
export function Switch({ address, label, title, children, class: own = "" }: Faced) {
  const on = Boolean(useValue(address));
  const mark = useMark(address);
  return (
    <button type="button" class={`press switch ${own}${mark}`} data-address={address} aria-label={label} aria-pressed={on}
      title={title ?? entryOf(address)?.doc} onClick={() => toggle(address)}>
      {children ?? label}
    </button>
  );
}

/** A button that has to be held, so that no stray touch does what cannot be taken back. */
export function Hold({ address, label, title }: Faced) {
  const [since, setSince] = useState<number | null>(null);
  const mark = useMark(address);
  useEffect(() => {
    if (since === null) return;
    const timer = window.setTimeout(() => { send(address); setSince(null); }, HOLD_MS);
    return () => window.clearTimeout(timer);
  }, [since]);
  const begin = () => setSince((old) => old ?? performance.now());
  const end = () => setSince(null);
  return (
    <button type="button" class={`press hold ${since === null ? "" : "held"}${mark}`} data-address={address} data-hold="" title={title}
      aria-label={`${label}: hold for a second`} onPointerDown={begin} onPointerUp={end} onPointerLeave={end}
      onPointerCancel={end} onBlur={end} onContextMenu={(event) => event.preventDefault()}
      onKeyDown={(event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); begin(); } }}
      onKeyUp={end}>
      <span>{label}</span>
    </button>
  );
}

/** A fader. Two clicks put it back: to where the preset has it, or to where it is in the beginning.
 *
 * One that is `careful` goes no further than it is dragged: a click beside its knob moves nothing.
 */
export function Fader({ address, label, title, class: own = "", vertical = false, careful = false }:
  Faced & { vertical?: boolean; careful?: boolean }) {
  const value = Number(useValue(address) ?? 0);
  const argument = entryOf(address)?.arguments[0];
  const [low, high] = [argument?.low ?? 0, argument?.high ?? 1];
  const whole = argument?.type === "int";
  const share = high > low ? (value - low) / (high - low) : 0;
  const mark = useMark(address);
  const usual = entryOf(address)?.default;
  const reset = () => {
    if (entryOf(`${address}/reset`)) { forget(address); send(`${address}/reset`); }
    else if (typeof usual === "number") send(address, usual);
  };
  const drag = useRef<{ from: number; x: number; pointer: number } | null>(null);
  const end = () => { drag.current = null; };
  const begin = (event: PointerEvent) => {
    if (event.button !== 0 || drag.current) return;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    drag.current = { from: value, x: event.clientX, pointer: event.pointerId };
  };
  const move = (event: PointerEvent) => {
    if (drag.current?.pointer !== event.pointerId) return;
    if (!event.buttons) return end();
    const travel = (event.currentTarget as Element).querySelector("input")!.clientWidth - KNOB;
    put(address, Math.min(high, Math.max(low, drag.current.from + ((event.clientX - drag.current.x) / travel) * (high - low))));
  };
  const hand = careful ? { onPointerDown: begin, onPointerMove: move, onPointerUp: end, onPointerCancel: end, onLostPointerCapture: end, onDblClick: reset,
    onClick: (event: Event) => event.preventDefault() /* no focus: the arrows are the presets' */ } : {};
  return (
    <label class={`fader ${vertical ? "vertical" : ""} ${careful ? "careful" : ""} ${own}${mark}`} data-address={address}
      title={title ?? entryOf(address)?.doc} {...hand}>
      <span class="name">{label}</span>
      <input type="range" aria-label={label} min={low} max={high} step={whole ? 1 : (high - low) / 1000} value={value}
        style={{ "--share": `${100 * share}%` }} onDblClick={careful ? undefined : reset}
        onInput={(event) => put(address, Number(event.currentTarget.value))} />
      <output>{whole || high - low >= 100 ? Math.round(value) : value.toFixed(2)}</output>
    </label>
  );
}

/** One of some texts. */
export function Choice({ address, label, choices, names = {} }: Faced & { choices: string[]; names?: Record<string, string> }) {
  const value = useValue(address);
  return (
    <div class="choice" role="radiogroup" aria-label={label}>
      {choices.map((one) => (
        <Press key={one} address={address} label={`${label} ${names[one] ?? one}`} args={[one]} lit={value === one}>{names[one] ?? one}</Press>
      ))}
    </div>
  );
}

export function Select({ address, label, choices }: Faced & { choices: string[] }) {
  const value = String(useValue(address) ?? "");
  return (
    <select aria-label={label} data-address={address} value={value} title={entryOf(address)?.doc}
      onChange={(event) => put(address, event.currentTarget.value)}>
      {choices.map((one) => <option key={one} value={one}>{one || "all"}</option>)}
    </select>
  );
}

/** A text: sent with Enter or when it is left; Escape takes it back. */
export function Line({ address, label, class: own = "", placeholder }: Faced & { placeholder?: string }) {
  const value = String(useValue(address) ?? "");
  const box = useRef<HTMLInputElement>(null);
  const [draft, setDraft] = useState<string | null>(null);
  const mark = useMark(address);
  const commit = () => { if (draft !== null && draft !== read(address)) send(address, draft); setDraft(null); };
  return (
    <input ref={box} class={`line ${own}${mark}`} data-address={address} type="text" aria-label={label} placeholder={placeholder}
      maxLength={2000} autocomplete="off" spellcheck={false} value={draft ?? value} title={entryOf(address)?.doc}
      onInput={(event) => setDraft(event.currentTarget.value)} onBlur={commit}
      onKeyDown={(event) => {
        if (event.key === "Enter") box.current?.blur();
        if (event.key === "Escape") { setDraft(null); event.currentTarget.value = value; event.currentTarget.blur(); }
        event.stopPropagation();
      }} />
  );
}

export function Number_({ address, label, unit = "" }: Faced & { unit?: string }) {
  const value = Number(useValue(address) ?? 0);
  const argument = entryOf(address)?.arguments[0];
  return (
    <label class="number" data-address={address} title={entryOf(address)?.doc}>
      <span class="name">{label}</span>
      <input type="number" aria-label={label} min={argument?.low} max={argument?.high} step={argument?.type === "int" ? 1 : "any"}
        value={Math.round(value * 1000) / 1000} onKeyDown={(event) => event.stopPropagation()}
        onChange={(event) => { if (event.currentTarget.value !== "") send(address, Number(event.currentTarget.value)); }} />
      <span class="unit">{unit}</span>
    </label>
  );
}

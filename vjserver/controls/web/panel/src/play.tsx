// What is played: presets, snapshots, cues, prompts, macros.
import { useState } from "preact/hooks";
import { Fader, Line, Press, Select } from "./controls";
import { send, useHello, useLearning, useLive, useValue, type Preset } from "./link";

export function Presets() {
  const hello = useHello();
  const playing = Number(useValue("/vj/preset/go") ?? 0);
  const bank = String(useValue("/vj/preset/bank") ?? "");
  const live = useLive();
  const waits = live?.pending.find(([text]) => text.startsWith("/vj/preset/"))?.[0].split(" ").slice(1).join(" ");
  const shown = (hello?.presets ?? []).filter((preset) => !bank || preset.bank === bank);
  return (
    <section class="presets" aria-label="presets">
      <div class="row">
        <span class="head">PRESETS</span>
        <Select address="/vj/preset/bank" label="bank" choices={["", ...(hello?.banks ?? [])]} />
        <Press address="/vj/preset/prev" label="previous preset" title="previous (←)">◀</Press>
        <Press address="/vj/preset/next" label="next preset" title="next (→)">▶</Press>
        <Save />
      </div>
      <div class="grid">
        {shown.map((preset, i) => (
          <Tile key={preset.bank + preset.slug} preset={preset} number={i + 1} playing={playing === i + 1}
            waiting={waits === String(i + 1) || waits === preset.slug} />
        ))}
      </div>
    </section>
  );
}

function Tile({ preset, number, playing, waiting }: { preset: Preset; number: number; playing: boolean; waiting: boolean }) {
  const learning = useLearning() !== null ? " learning" : "";
  const hue = [...preset.name].reduce((sum, sign) => (sum * 31 + sign.charCodeAt(0)) % 360, 7);
  return (
    <button class={`tile ${playing ? "playing" : ""} ${waiting ? "waiting" : ""}${learning}`} data-address="/vj/preset/go"
      aria-label={`preset ${number}: ${preset.name}`} aria-pressed={playing} title={preset.description}
      style={{ "--hue": hue }} onClick={() => send("/vj/preset/go", number)}>
      {preset.thumb && <img src={`/thumb/${preset.number}.jpg`} alt="" draggable={false} />}
      <span>{preset.name}</span>
    </button>
  );
}

function Save() {
  const [name, setName] = useState<string | null>(null);
  if (name === null) return <button class="press" aria-label="save the look as a preset" onClick={() => setName("")}>SAVE</button>;
  return (
    <form class="save" onSubmit={(event) => { event.preventDefault(); if (name.trim()) send("/vj/preset/save", name.trim()); setName(null); }}>
      <input class="line" aria-label="name of the preset" ref={(box) => box?.focus()} maxLength={80} value={name} placeholder="name of the preset"
        onInput={(event) => setName(event.currentTarget.value)}
        onKeyDown={(event) => { event.stopPropagation(); if (event.key === "Escape") setName(null); }} />
      <button class="press">SAVE</button>
    </form>
  );
}

export function Snapshots() {
  const live = useLive();
  const [storing, setStoring] = useState(false);
  return (
    <section class="snapshots" aria-label="snapshots">
      <button class="press" aria-pressed={storing} aria-label="store into the snapshot that is pressed next" onClick={() => setStoring(!storing)}>
        STORE
      </button>
      {Array.from({ length: 8 }, (_, i) => i + 1).map((number) => (
        <button key={number} class={`press ${live?.snapshots.includes(number) ? "kept" : ""}`} data-address="/vj/snapshot/recall"
          aria-label={`${storing ? "store" : "recall"} snapshot ${number}`}
          onClick={() => { send(storing ? "/vj/snapshot/store" : "/vj/snapshot/recall", number); setStoring(false); }}>
          {number}
        </button>
      ))}
    </section>
  );
}

export function Cues() {
  const hello = useHello();
  const live = useLive();
  const cues = hello?.cues ?? [];
  if (!cues.length) return null;
  return (
    <section class="cues" aria-label="cues">
      <Press address="/vj/cue/go" label="GO" title="the next cue (Space)" class="go" />
      <ol>
        {cues.map((cue) => (
          <li key={cue.id} class={`${live?.cue[0] === cue.id ? "called" : ""} ${live?.cue[1] === cue.id ? "next" : ""}`}>
            <button class="press" aria-label={`cue ${cue.id} ${cue.name}`} onClick={() => send(`/vj/cue/${cue.id}/go`)}>
              <b>{cue.id}</b> {cue.name}
            </button>
          </li>
        ))}
      </ol>
      <Press address="/vj/cue/back" label="previous cue">◀</Press>
      <Press address="/vj/cue/stop" label="cues follow no more">HOLD</Press>
    </section>
  );
}

export function Prompts() {
  return (
    <section class="prompts" aria-label="prompts">
      <span class="head">PROMPTS</span>
      {Array.from({ length: 8 }, (_, i) => i + 1).map((number) => (
        <div class="prompt" key={number}>
          <Line address={`/vj/prompt/${number}/text`} label={`prompt ${number}`} placeholder={number === 1 ? "neon tunnel, glowing" : ""} />
          <Fader address={`/vj/prompt/${number}/weight`} label={`weight of prompt ${number}`} class="bare" />
        </div>
      ))}
      <Queue />
    </section>
  );
}

function Queue() {
  const queue = String(useValue("/vj/prompt/queue") ?? "").split("\n").filter(Boolean);
  const [text, setText] = useState("");
  return (
    <form class="queue" onSubmit={(event) => { event.preventDefault(); if (text.trim()) send("/vj/prompt/push", text.trim()); setText(""); }}>
      <input class="line" aria-label="prompt for the queue" placeholder="prepare a prompt, Enter" maxLength={2000} autocomplete="off" value={text}
        onInput={(event) => setText(event.currentTarget.value)} onKeyDown={(event) => event.stopPropagation()} />
      <Press address="/vj/prompt/next" label="next prompt of the queue" title="the first of the queue becomes prompt 1 (N)"
        disabled={!queue.length}>NEXT {queue.length || ""}</Press>
      <Press address="/vj/prompt/clear" label="empty the queue" disabled={!queue.length}>✕</Press>
      {queue.length > 0 && <span class="next" title={queue.join("\n")}>{queue[0]}</span>}
      <Press address="/vj/seed/next" label="next seed" title="another picture of the same look">SEED</Press>
    </form>
  );
}

export function Macros() {
  const live = useLive();
  return (
    <section class="macros" aria-label="macros">
      {Array.from({ length: 8 }, (_, i) => i + 1).map((number) => (
        <Fader key={number} address={`/vj/macro/${number}`} label={live?.macro_names[number - 1] || `macro ${number}`} vertical />
      ))}
    </section>
  );
}

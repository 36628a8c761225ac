// The stage: the picture, what sounds, the beat, the master; and how everything is.
import { useEffect, useRef } from "preact/hooks";
import { Choice, Fader, Hold, Press, Select, Switch } from "./controls";
import { onPicture, useLive, useStatus, useValue, type Live } from "./link";

const QUANTISE = ["none", "beat", "bar", "2bar", "4bar"];
const NAMES = { none: "now", "2bar": "2 bars", "4bar": "4 bars" };

const SAID = {
  live: "live", connecting: "connecting", lost: "connection lost, trying again", silent: "the server does not answer",
};

export function Header({ open }: { open: (drawer: string) => void }) {
  const live = useLive();
  const status = useStatus();
  return (
    <header>
      <h1>vj<b>server</b></h1>
      <Beat live={status === "live" ? live : null} />
      <Recording />
      <div class="group">
        <Press address="/vj/tempo/tap" label="TAP" title="tap four times (T)" class="tap" />
        <Press address="/vj/tempo/resync" label="ONE" title="now is the first beat of the bar (R)" />
        <Press address="/vj/tempo/half" label="÷2" />
        <Press address="/vj/tempo/double" label="×2" />
        <Press address="/vj/tempo/nudge" label="earlier" args={[-10]}>−</Press>
        <Press address="/vj/tempo/nudge" label="later" args={[10]}>+</Press>
        <Select address="/vj/tempo/source" label="who keeps the beat" choices={["auto", "tap", "link", "midi", "osc"]} />
      </div>
      <Lamps live={live} open={open} />
      <output class={`link ${status}`} role="status">
        {SAID[status]}
      </output>
    </header>
  );
}

/** Lit while it records: what is not recorded cannot be had again. */
function Recording() {
  return useValue("/vj/record") ? <span class="rec" role="status">REC</span> : null;
}

function Beat({ live }: { live: Live | null }) {
  const beats = live?.beats_per_bar ?? 4;
  const lit = live !== null && live.bpm > 0 && live.phase < 0.35;
  return (
    <div class="beat" aria-label="the beat">
      <div class="lamps">
        {Array.from({ length: beats }, (_, i) => (
          <i key={i} class={`${i ? "" : "one"} ${lit && i === live.position ? "on" : ""}`} />
        ))}
      </div>
      <output aria-label="tempo">{live && live.bpm > 0 ? live.bpm.toFixed(1) : "--"}</output>
      <span class="unit">bpm</span>
    </div>
  );
}

/** A lamp for each door: green plays, red does not. */
function Lamps({ live, open }: { live: Live | null; open: (drawer: string) => void }) {
  if (!live) return <div class="doors" />;
  const troubled = (name: string) => Object.keys(live.troubles).some((what) => what.includes(name));
  const doors: [string, boolean][] = [
    ["sound", !troubled("sound") && !troubled("ear")],
    ["picture", live.fps.generated > 0 && !troubled("generat")],
    ...Object.entries(live.outputs).map(([name, out]) => [name, out.alive] as [string, boolean]),
  ];
  return (
    <button class="doors" aria-label="doors and health" onClick={() => open("health")} title="doors and health (H)">
      {doors.map(([name, well]) => <span key={name} class={well ? "well" : "ill"}>{name}</span>)}
      <span class="figure">{live.fps.generated.toFixed(0)} fps</span>
      <span class="figure">{ms(live.latency_ms.audio_to_frame?.p50)} to picture</span>
    </button>
  );
}

export const ms = (value?: number) => (value === undefined ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`);

export function Picture() {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const late: number[] = [];
    onPicture(async (jpeg, stamp_ms) => {
      const box = canvas.current;
      const image = await createImageBitmap(jpeg);
      const pen = box?.getContext("2d", { alpha: false });
      if (box && pen) {
        if (box.width !== image.width || box.height !== image.height) {
          box.width = image.width;
          box.height = image.height;
        }
        pen.drawImage(image, 0, 0);
        late.push(performance.timeOrigin + performance.now() - stamp_ms);
        if (late.length > 200) late.shift();
        box.dataset.frames = String(Number(box.dataset.frames ?? 0) + 1);
        box.dataset.late = late.map((value) => value.toFixed(1)).join(" ");
      }
      image.close();
    });
  }, []);
  return (
    <div class="picture">
      <canvas ref={canvas} width="640" height="360" aria-label="the picture" role="img" />
      <Overlay />
    </div>
  );
}

function Overlay() {
  const live = useLive();
  const black = Boolean(useValue("/vj/master/blackout"));
  const frozen = Boolean(useValue("/vj/master/freeze"));
  if (!live) return null;
  const words: Record<string, string> = { hold: "holding the last picture", safe: "safe loop", black: "black", start: "starting" };
  return (
    <div class="overlay">
      <span class="preset">{live.preset_name}</span>
      {live.morph !== null && <span class="morph" style={{ "--share": `${100 * live.morph}%` }}>morph</span>}
      {live.take && <span class="take">take {live.take}</span>}
      {black ? <span class="level">blackout</span> : frozen ? <span class="level">frozen</span>
        : words[live.picture] && <span class="level">{words[live.picture]}</span>}
    </div>
  );
}

export function Master() {
  return (
    <section class="master" aria-label="master">
      <Switch address="/vj/master/blackout" label="BLACKOUT" title="black, at once (B)" class="danger" />
      <Switch address="/vj/master/freeze" label="FREEZE" title="hold the picture (F)" class="cold" />
      <Switch address="/vj/master/safe" label="SAFE" title="the safe loop instead of generated pictures (S)" class="warm" />
      <Hold address="/vj/master/panic" label="PANIC" title="hold (P): the safe loop, nothing black, frozen or waiting" />
      <Fader address="/vj/master/fade" label="FADE" title="drag: out to the left, to black; two clicks: full" careful />
    </section>
  );
}

export function Sound() {
  const live = useLive();
  const chart = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const box = chart.current;
    const pen = box?.getContext("2d");
    if (!box || !pen || !live) return;
    pen.clearRect(0, 0, box.width, box.height);
    const step = box.width / live.spectrum.length;
    live.spectrum.forEach((value, i) => {
      pen.fillStyle = `hsl(${190 + i * 4} 90% 62%)`;
      pen.fillRect(i * step + 1, box.height * (1 - value), step - 2, box.height * value);
    });
  }, [live]);
  return (
    <section class="sound" aria-label="sound">
      <div class="drums">
        {["kick", "snare", "hat"].map((name, i) => <span key={name} style={{ "--hit": live?.drums[i] ?? 0 }}>{name}</span>)}
      </div>
      <div class="bands">
        {Object.entries(live?.bands ?? {}).map(([name, level]) => (
          <div key={name} style={{ "--level": level }}><span>{name}</span></div>
        ))}
      </div>
      <canvas ref={chart} width="480" height="64" aria-label="spectrum" role="img" />
    </section>
  );
}

export function Timing() {
  const live = useLive();
  return (
    <section class="timing" aria-label="timing">
      <div class="row">
        <span class="head">CHANGE</span>
        <Choice address="/vj/quantise" label="quantise" choices={QUANTISE} names={NAMES} />
        <Pending live={live} />
      </div>
      <div class="row">
        <span class="head">MORPH</span>
        <Lengths />
        <Switch address="/vj/autopilot" label="AUTO" title="another preset every few bars (A)" class="auto" />
        <Press address="/vj/undo" label="UNDO" title="the look before the last change (Z)" />
        <Press address="/vj/redo" label="REDO" title="what was undone (Shift+Z)" />
      </div>
    </section>
  );
}

const LENGTHS: [string, number][] = [["cut", 0], ["1", 4], ["2", 8], ["4", 16], ["8", 32]];

function Lengths() {
  const now = Number(useValue("/vj/morph/beats") ?? 0);
  return (
    <div class="choice" role="group" aria-label="morph length in bars">
      {LENGTHS.map(([name, beats]) => (
        <Press key={name} address="/vj/morph/beats" args={[beats]} lit={now === beats}
          label={beats ? `morph over ${name} bar${name === "1" ? "" : "s"} of four` : "no morph"}>{name}</Press>
      ))}
    </div>
  );
}

/** What waits, in few words: `/vj/preset/go mandala` is `mandala`. */
const shortly = (text: string) => text.split(" ").slice(1).join(" ") || text.replace("/vj/", "");

function Pending({ live }: { live: Live | null }) {
  if (!live?.pending.length) return null;
  return (
    <span class="pending" role="status">
      <span>{live.pending.map(([text, beats]) => `${shortly(text)} in ${beats}`).join(" · ")}</span>
      <Press address="/vj/quantise/clear" label="forget what waits">✕</Press>
    </span>
  );
}

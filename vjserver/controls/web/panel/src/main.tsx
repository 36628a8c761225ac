// The panel: one screen on a desk, one column on a phone (or by ?view=desk, ?view=phone). Keys play it as hands do.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { connect, read, send, setLearning, toggle, useLearning, useStatus, watch } from "./link";
import { Drawer, Footer } from "./drawers";
import { Cues, Macros, Presets, Prompts, Snapshots } from "./play";
import { Speech, talkKeys } from "./speech";
import { Header, Master, Picture, Sound, Timing } from "./stage";
import "./panel.css";

const QUANTISE = ["none", "beat", "bar", "2bar", "4bar"];
const PANIC_MS = 800;
const NARROW = window.matchMedia("(max-width: 700px), (max-height: 500px)");

/** Tell whether this is a phone, however it is held, unless the address says what it shall be. */
function usePhone() {
  const view = new URLSearchParams(location.search).get("view");
  const [narrow, setNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const look = () => setNarrow(NARROW.matches);
    NARROW.addEventListener("change", look);
    return () => NARROW.removeEventListener("change", look);
  }, []);
  return view === "phone" || (view !== "desk" && narrow);
}

function Panel() {
  const phone = usePhone();
  const [drawer, setDrawer] = useState("");
  const learning = useLearning();
  const status = useStatus();
  const open = (name: string) => setDrawer((now) => (now === name ? "" : name));
  useKeys(open, () => setDrawer(""));
  usePick(learning !== null);
  useGivenBack();
  return (
    <div class={`panel ${phone ? "phone" : "desk"} ${status}`}>
      <Header open={open} />
      <main>
        <div class="column left"><Picture /><Master /><Sound /><Speech /></div>
        <div class="column middle"><Timing /><Presets /><Snapshots /><Cues /></div>
        <div class="column right"><Prompts /><Macros /></div>
      </main>
      <Footer open={open} drawer={drawer} />
      {drawer && <Drawer name={drawer} close={() => setDrawer("")} />}
    </div>
  );
}

/** In learn mode a touch picks a control instead of playing it. */
function usePick(on: boolean) {
  useEffect(() => {
    if (!on) return;
    const pick = (event: Event) => {
      const address = (event.target as Element).closest<HTMLElement>("[data-address]")?.dataset.address;
      if (!address) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.type === "pointerdown") { setLearning(address); send("/vj/midi/learn", address); }
    };
    const kinds = ["pointerdown", "click", "input", "change"];
    kinds.forEach((kind) => document.addEventListener(kind, pick, true));
    return () => {
      kinds.forEach((kind) => document.removeEventListener(kind, pick, true));
      send("/vj/midi/learn");
    };
  }, [on]);
}

/** Whatever a pointer has touched gives the keyboard back: the next key plays the panel, and not the button once more. */
function useGivenBack() {
  useEffect(() => {
    const give = (event: Event) => {
      const touched = (event.target as Element).closest<HTMLElement>("button, select, input[type=range]");
      if (touched && (event.type === "change" || (event as MouseEvent).detail > 0)) touched.blur();
    };
    const ofSelect = (event: Event) => { if (!((event.target as Element) instanceof HTMLInputElement)) give(event); };
    const afterClick = (event: Event) => { if (!((event.target as Element) instanceof HTMLSelectElement)) give(event); };
    document.addEventListener("click", afterClick);
    document.addEventListener("change", ofSelect);
    return () => { document.removeEventListener("click", afterClick); document.removeEventListener("change", ofSelect); };
  }, []);
}

const CHOOSING = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", " ", "Enter", "Escape", "Home", "End"];

function useKeys(open: (drawer: string) => void, close: () => void) {
  const learning = useLearning();
  useEffect(() => {
    let panic = 0;
    const actions: Record<string, () => void> = {
      t: () => send("/vj/tempo/tap"),
      r: () => send("/vj/tempo/resync"),
      b: () => toggle("/vj/master/blackout"),
      f: () => toggle("/vj/master/freeze"),
      s: () => toggle("/vj/master/safe"),
      a: () => toggle("/vj/autopilot"),
      n: () => send("/vj/prompt/next"),
      z: () => send("/vj/undo"),
      Z: () => send("/vj/redo"),
      q: () => send("/vj/quantise", QUANTISE[(QUANTISE.indexOf(String(read("/vj/quantise"))) + 1) % QUANTISE.length]),
      ArrowLeft: () => send("/vj/preset/prev"),
      ArrowRight: () => send("/vj/preset/next"),
      " ": () => send("/vj/cue/go"),
      p: () => { panic = window.setTimeout(() => send("/vj/master/panic"), PANIC_MS); },
      v: talkKeys.down,
      l: () => setLearning(learning === null ? "" : null),
      h: () => open("health"),
      m: () => open("monitor"),
      ",": () => open("settings"),
      "/": () => open("settings"),
      "?": () => open("keys"),
      Escape: () => { close(); setLearning(null); },
    };
    const down = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const typing = target instanceof HTMLInputElement && target.type !== "range";
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (typing && event.key !== "Escape") return;
      if (target instanceof HTMLSelectElement && CHOOSING.includes(event.key)) return;
      if (target instanceof HTMLInputElement && event.key.startsWith("Arrow")) return;
      if (event.key === " " && target instanceof HTMLButtonElement) return; // it presses the button
      const action = actions[event.key] ?? (/^[1-9]$/.test(event.key) ? () => send("/vj/preset/go", Number(event.key)) : undefined);
      if (action) { event.preventDefault(); action(); }
    };
    const up = (event: KeyboardEvent) => {
      if (event.key === "p") window.clearTimeout(panic);
      if (event.key === "v") talkKeys.up();
    };
    document.addEventListener("keydown", down);
    document.addEventListener("keyup", up);
    return () => { document.removeEventListener("keydown", down); document.removeEventListener("keyup", up); };
  }, [learning]);
}

connect();
watch();
render(<Panel />, document.getElementById("panel")!);

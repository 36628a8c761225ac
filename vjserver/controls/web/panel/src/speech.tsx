// Speech: what is being said, what becomes of it, and what waits for a tap.
import { useEffect, useRef } from "preact/hooks";
import { Line, Press, Select, Switch } from "./controls";
import { read, send, useLive, useValue } from "./link";

const POLICIES = ["replace", "queue", "blend", "push"];

/** A button that is on while it is held, and lets go whatever happens to it. */
export function Talk() {
  const on = Boolean(useValue("/vj/speech/talk"));
  const held = useRef(false);
  const begin = (event: Event) => {
    event.preventDefault();
    if (!held.current) { held.current = true; send("/vj/speech/talk", 1); }
  };
  const end = () => { if (held.current) { held.current = false; send("/vj/speech/talk", 0); } };
  useEffect(() => {
    window.addEventListener("blur", end);
    return () => { window.removeEventListener("blur", end); end(); };
  }, []);
  return (
    <button type="button" class="press talk" aria-pressed={on} aria-label="hold to talk" data-address="/vj/speech/talk" title="hold to talk (V)"
      onPointerDown={begin} onPointerUp={end} onPointerLeave={end} onPointerCancel={end} onContextMenu={(event) => event.preventDefault()}>
      TALK
    </button>
  );
}

export function Speech() {
  const live = useLive();
  const on = Boolean(useValue("/vj/speech/on"));
  const push = useValue("/vj/speech/mode") === "push";
  const speech = live?.speech;
  return (
    <section class="speech" aria-label="speech">
      <div class="row">
        <span class="head">SPEECH</span>
        <Switch address="/vj/speech/on" label="LISTEN" title="what is said becomes the picture" />
        {on && <Select address="/vj/speech/policy" label="what a phrase does" choices={POLICIES} />}
        {on && <Select address="/vj/speech/mode" label="when it listens" choices={["open", "push"]} />}
        {on && push && <Talk />}
        {on && <Switch address="/vj/speech/crowd" label="CROWD" title="phrases from the page wait for a tap here" />}
        {on && <Microphone />}
      </div>
      {on && <p class={`said ${speech?.speaking ? "speaking" : ""}`} aria-label="what is said">{speech?.text || (speech?.ready ? "…" : "getting ready")}</p>}
      {on && <Line address="/vj/speech/style" label="style of spoken prompts" placeholder="{phrase}, oil painting" />}
      {on && speech?.waiting.map(([number, who, phrase]) => (
        <div class="row waits" key={number}>
          <Press address="/vj/speech/push" args={[number]} label={`let through: ${phrase}`}>✓</Press>
          <Press address="/vj/speech/drop" args={[number]} label={`drop: ${phrase}`}>✕</Press>
          <span>{phrase}</span><span class="unit">{who}</span>
        </div>
      ))}
    </section>
  );
}

/** Always visible while speech is on: is a microphone open, and does sound leave the machine? */
function Microphone() {
  const speech = useLive()?.speech;
  const held = useValue("/vj/speech/mode") !== "push" || Boolean(useValue("/vj/speech/talk"));
  const open = speech?.microphone === "open" && held;
  const says = speech?.microphone !== "open" ? "microphone closed" : held ? "microphone open" : "hold to talk";
  return (
    <span class={`microphone ${open ? "open" : ""}`} role="status" style={{ "--level": speech?.level ?? 0 }}>
      {says}{speech?.leaves ? `, sound goes to ${speech.leaves}` : ""}
    </span>
  );
}

/** Hold V to talk. */
export const talkKeys = {
  down: () => { if (!read("/vj/speech/talk")) send("/vj/speech/talk", 1); },
  up: () => { if (read("/vj/speech/talk")) send("/vj/speech/talk", 0); },
};

// The notebook: words that were missing, what they mean, and their review.
import { $, Recorder, button, call, doing, load, make, note, sure, takeFile } from "/files/common.js";

const LOOK_MS = 1500;
const GRADES = ["again", "hard", "good", "easy"];
let drawn = ""; // what is shown, as text: it is drawn again when that changes
let ready = false;

const name = (code) => { try { return new Intl.DisplayNames(undefined, { type: "language" }).of(code); } catch { return code; } };
const pair = () => ({ learn: $("learn").value, own: $("own").value });
const media = (file) => `/words/media/${file}`;

/** Return the languages that were chosen, null where they are no pair. */
function chosen() {
  const { learn, own } = pair();
  if (learn && own && learn !== own) return { learn, own };
  note("choose the language that you learn, and your own: two different ones", true);
  return null;
}

function languages(codes) {
  ready = true;
  const own = localStorage.getItem("own") ?? navigator.language.slice(0, 2);
  const learn = localStorage.getItem("learn") ?? (own === "es" ? "en" : "es");
  for (const [id, now] of [["learn", learn], ["own", own]]) {
    $(id).replaceChildren(...codes.map((code) => make("option", { value: code, textContent: name(code), selected: code === now })));
    $(id).addEventListener("change", () => { localStorage.setItem(id, $(id).value); drawn = ""; void doing(list); });
  }
}

async function list() {
  const answer = await call(`/words/list?${ready ? new URLSearchParams(pair()) : ""}`);
  if (!ready) { languages(answer.languages); await list(); return; }
  $("privacy").textContent = `for you alone, on this machine; the sound of sentences is ${answer.keep ? "kept" : "not kept"}`;
  if (answer.why) note(answer.why, true);
  const now = JSON.stringify([answer.words, answer.talks, answer.due, answer.wanted]);
  if (now === drawn || $("words").contains(document.activeElement)) return;
  drawn = now;
  $("review").textContent = answer.due ? `review ${answer.due}` : "nothing is due";
  $("review").disabled = !answer.due;
  $("count").textContent = `${answer.total} words`;
  const bare = answer.words.filter((word) => !word.picture && !word.drawing).map((word) => word.id);
  $("draw").replaceChildren(make("option", { value: "", textContent: answer.wanted[1] ? `${answer.wanted[1]} are drawn …` : "draw those without a picture …" }),
    ...answer.generators.map((kind) => make("option", { value: kind, textContent: `with ${kind}` })));
  $("draw").disabled = !bare.length;
  $("draw").onchange = () => void doing(async () => { await call("/words/draw", { words: bare, generator: $("draw").value }); drawn = ""; await list(); });
  $("words").replaceChildren(...answer.words.map(row));
  $("talks").replaceChildren(...answer.talks.map(talk));
}

function row(word) {
  const gloss = make("input", { value: word.gloss, maxLength: 500, placeholder: "what it means", data: { "aria-label": `what ${word.lemma} means` } });
  gloss.addEventListener("change", () => void doing(async () => { await call("/words/gloss", { word: word.id, gloss: gloss.value }); note(`${word.lemma}: ${gloss.value}`); }));
  gloss.addEventListener("keydown", (event) => { if (event.key === "Enter") gloss.blur(); });
  const where = make("td");
  for (const seen of word.seen.slice(0, 2)) {
    where.append(sentence(seen));
    if (seen.sound) where.append(make("audio", { controls: true, preload: "none", src: media(seen.sound) }));
  }
  const picture = make("td", {}, word.picture ? make("img", { src: media(word.picture), alt: word.lemma })
    : make("span", { className: "facts", textContent: { wanted: "is drawn …", failed: word.why }[word.drawing] ?? "" }));
  return make("tr", {}, picture, make("td", {}, make("b", { textContent: word.word }), make("div", { className: "facts", textContent: `${word.lemma === word.word.toLowerCase() ? "" : `${word.lemma}, `}${word.count} ${word.count === 1 ? "time" : "times"}` })),
    make("td", {}, gloss), where, make("td", {}, button("×", () => {
      if (sure(`Delete "${word.lemma}", its sentences and its picture?`)) void doing(async () => { await call("/words/delete", { words: [word.id] }); drawn = ""; await list(); });
    }, { title: "delete this word", className: "quiet" })));
}

function sentence(seen) {
  const line = make("div");
  const at = seen.sentence.indexOf(seen.said);
  if (at < 0) { line.textContent = seen.sentence; return line; }
  line.append(seen.sentence.slice(0, at), make("mark", { textContent: seen.said }), seen.sentence.slice(at + seen.said.length));
  return line;
}

function talk(one) {
  const box = make("div", { className: "card" });
  if (one.hearing === "wanted") box.append(make("p", { className: "facts waits", textContent: `${Math.round(one.seconds)} s are listened to …` }));
  else if (one.hearing === "failed") box.append(make("p", { className: "facts waits", textContent: one.why }), make("audio", { controls: true, src: media(one.sound) }),
    button("try again", () => void doing(async () => { await call("/words/talk/again", { talk: one.id }); drawn = ""; await list(); })));
  else box.append(make("p", { textContent: one.text }), make("p", { className: "facts", textContent: one.words ? `noted: ${one.words}` : "no word was missing" }));
  box.append(button("×", () => void doing(async () => { await call("/words/talk/drop", { talk: one.id }); drawn = ""; await list(); }), { className: "quiet", title: "take it away; words that were noted stay" }));
  return box;
}

// -- review --------------------------------------------------------------------------------------------------

async function review() {
  const due = (await doing(() => call("/words/due")))?.words ?? [];
  const dialog = $("asked");
  const next = () => {
    const word = due.shift();
    if (!word) { dialog.close(); note("that was all that is due"); drawn = ""; void doing(list); return; }
    const meaning = make("p", { className: "gloss" });
    const grades = make("div", { className: "grades" }, ...GRADES.map((grade, i) => button(grade, () => void doing(async () => {
      await call("/words/review", { word: word.id, grade });
      next();
    }), { title: `key ${i + 1}`, disabled: true })));
    const show = button("show", () => {
      meaning.textContent = word.gloss;
      show.hidden = true;
      grades.childNodes.forEach((one) => { one.disabled = false; });
      grades.firstChild.focus();
    });
    dialog.replaceChildren(button("×", () => dialog.close(), { className: "quiet", title: "enough for now" }), make("p", { className: "facts", textContent: `${due.length + 1} left · ${name(word.own)} to ${name(word.learn)}` }), make("p", { className: "word", textContent: word.word }),
      ...(word.picture ? [make("img", { src: media(word.picture), alt: "" })] : []), ...(word.seen[0] ? [sentence(word.seen[0])] : []), meaning, show, grades);
    show.focus();
    dialog.onkeydown = (event) => {
      const place = ["1", "2", "3", "4"].indexOf(event.key);
      if (place >= 0 && !grades.childNodes[place].disabled) grades.childNodes[place].click();
    };
  };
  if (due.length) { dialog.showModal(); next(); }
}

$("review").addEventListener("click", () => void review());
$("asked").addEventListener("close", () => { drawn = ""; });
$("new").addEventListener("submit", (event) => {
  event.preventDefault();
  const languages = chosen();
  if (!languages) return;
  void doing(async () => {
    const { words } = await call("/words/read", { ...languages, text: $("text").value });
    $("text").value = "";
    drawn = "";
    await list();
    note(words.length ? `noted: ${words.map((word) => word.lemma).join(", ")}` : "no word was missing");
  });
});
for (const [id, kind, file] of [["csv", "csv", "words.csv"], ["anki", "anki", "words.apkg"]]) $(id).addEventListener("click", () => void load(`/words/export/${kind}?${new URLSearchParams(pair())}`, file));
$("delete").addEventListener("click", () => {
  if (!sure("Delete all words, sentences, sounds and pictures? Nothing of them is left. An export keeps a copy before.")) return;
  void doing(async () => { await call("/words/delete-everything", { everything: true }); drawn = ""; await list(); note("everything is deleted"); });
});
new Recorder($("record"), "/words", chosen, () => { drawn = ""; void doing(list); });
takeFile($("file"), "/words", chosen, () => { drawn = ""; void doing(list); });

async function look() {
  try { await list(); } catch { /* it is asked again */ }
  setTimeout(look, LOOK_MS);
}

void look();

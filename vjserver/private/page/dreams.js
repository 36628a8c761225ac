// The journal: a list of dreams, one of them open beside it, or what returns in all of them.
import { $, Recorder, button, call, doing, load, make, note, sure, takeFile } from "/files/common.js";

const LOOK_MS = 1500;
let open = null; // the dream that is open
let tag = "";
let day = "";
let skip = 0;
let drawn = ""; // what the list shows, as text: it is drawn again when that changes
let typing = false; // whether something is typed into the open dream that is not kept yet
let generators = [];

const shortDay = (text) => new Date(`${text}T12:00`).toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short", year: "numeric" });

// -- the list ------------------------------------------------------------------------------------------------

async function list() {
  const query = new URLSearchParams({ search: $("search").value.trim(), tag, day, skip });
  const answer = await call(`/dreams/list?${query}`);
  ({ generators } = answer);
  const now = JSON.stringify([answer.dreams, answer.more, open?.id, tag, day]);
  $("privacy").textContent = `for you alone, on this machine; recordings are ${answer.keep ? "kept" : "removed once they are written down"}`;
  if (answer.why) note(answer.why, true);
  if (now === drawn) return;
  drawn = now;
  $("list").replaceChildren(...answer.dreams.map(row));
  if (!answer.dreams.length) $("list").append(make("p", { className: "facts", textContent: $("search").value || tag || day ? "no dream matches" : "no dream yet: press the button, and tell one" }));
  $("more").hidden = !answer.more;
  $("filter").replaceChildren(...[["tag", tag && `#${tag}`], ["day", day]].filter(([, text]) => text).map(([kind, text]) =>
    button(`${text} ×`, () => { if (kind === "tag") tag = ""; else day = ""; again(); })));
}

function row(dream) {
  const about = make("div", {}, make("b", { textContent: dream.title }), make("span", { textContent: `${shortDay(dream.day)}${dream.mood ? ` · ${dream.mood}` : ""}` }));
  if (dream.hearing) about.append(make("span", { className: "waits", textContent: dream.hearing === "wanted" ? "is written down soon" : dream.why }));
  else about.append(make("span", { textContent: dream.text }));
  const element = button("", () => void show(dream.id), { className: dream.id === open?.id ? "entry open" : "entry" });
  element.append(about);
  if (dream.thumb) element.append(make("img", { src: `/dreams/media/${dream.thumb}`, alt: "" }));
  return element;
}

function again() {
  skip = 0;
  drawn = "";
  void doing(list);
}

/** Keep what is typed, before something else is shown. */
async function leave() {
  if (!typing || !open) return true;
  return await doing(() => keep()) !== null; // what cannot be kept stays where it is
}

async function show(id) {
  if (!await leave()) return;
  await doing(async () => { open = await call(`/dreams/of/${id}`); detail(); drawn = ""; await list(); });
  if (window.innerWidth < 760) $("detail").scrollIntoView({ behavior: "smooth" });
}

// -- one dream -----------------------------------------------------------------------------------------------

let fields = {};

async function keep() {
  const { title, text, mood, lucidity, tags, date } = fields;
  const order = { id: open.id, before: open.text, text: text.value, title: title.value, mood: mood.value, lucidity: Number(lucidity.value),
    tags: tags.value.split(",").map((one) => one.trim().replace(/^#/, "")).filter(Boolean), day: date.value, language: open.language };
  const made = await call("/dreams/write", order);
  typing = false;
  open = made;
  drawn = "";
  note("kept");
  return made;
}

function detail() {
  const box = $("detail");
  if (!open) { void overview(); return; }
  const dream = open;
  const field = (name, element) => { fields[name] = element; element.addEventListener("input", () => { typing = true; }); return element; };
  fields = {};
  const title = field("title", make("input", { className: "title", value: dream.title, maxLength: 200, data: { "aria-label": "title" } }));
  const about = make("div", { className: "row" },
    make("label", {}, "day", field("date", make("input", { type: "date", value: dream.day }))),
    make("label", {}, "mood", field("mood", make("input", { value: dream.mood, maxLength: 60, placeholder: "calm, afraid …" }))),
    make("label", {}, "lucidity", field("lucidity", make("select", {}, ...["not at all", "1", "2", "3", "4", "fully"].map((text, i) => make("option", { value: i, textContent: text, selected: i === dream.lucidity }))))),
    make("label", {}, "tags, with commas", field("tags", make("input", { value: dream.tags.join(", ") }))));
  const text = field("text", make("textarea", { value: dream.text, rows: Math.min(24, 4 + dream.text.length / 70), maxLength: 100000, data: { "aria-label": "what was dreamt" } }));
  const parts = [title, about];
  if (dream.sound) parts.push(make("audio", { controls: true, src: `/dreams/media/${dream.sound}` }));
  if (dream.hearing) parts.push(make("div", { className: "row" }, make("span", { className: "facts waits", textContent: dream.hearing === "wanted" ? "it is being written down …" : dream.why }),
    ...(dream.hearing === "failed" ? [button("try again", () => void change("hear", {}))] : [])));
  parts.push(text, make("div", { className: "row" },
    button("keep", () => void doing(async () => { await keep(); detail(); await list(); })),
    button("PDF", async () => { if (await leave()) await load(`/dreams/of/${dream.id}/pdf`, "dream.pdf"); }),
    button("delete", () => void forget(), { className: "danger" }),
    button("all dreams", async () => { if (await leave()) { open = null; detail(); again(); } }, { className: "quiet" })));
  box.replaceChildren(make("div", { className: "card" }, ...parts), pictures(dream));
}

function pictures(dream) {
  const count = make("select", { data: { "aria-label": "how many" } }, ...[1, 2, 3, 4, 6, 9].map((n) => make("option", { value: n, textContent: n, selected: n === 3 })));
  const who = make("select", { data: { "aria-label": "who draws" } }, make("option", { value: "", textContent: "a pattern of the words" }), ...generators.map((kind) => make("option", { value: kind, textContent: kind })));
  const telling = make("p", { className: "facts" });
  dream.telling.forEach((one, i) => telling.append(i ? " · " : "most telling: ", make("mark", { textContent: one })));
  const shown = dream.cards.map((card) => {
    const making = { wanted: "is drawn soon …", failed: card.why }[card.making] ?? "";
    const figure = make("figure", {}, card.picture ? make("img", { src: `/dreams/media/${card.picture}`, alt: card.sentence }) : make("div", { className: "none", textContent: making }),
      make("figcaption", { textContent: card.picture && making ? `${card.sentence} (${making})` : card.sentence, title: card.picture ? `${card.generator} ${card.model}, seed ${card.seed}${card.licence ? `, ${card.licence}` : ""}` : "" }),
      make("div", { className: "row" }, button("another", () => void change("again", { card: card.id, generator: who.value })), button("×", () => void change("drop", { card: card.id }), { title: "delete this picture" })));
    return figure;
  });
  return make("div", { className: "card" }, make("h2", { textContent: "pictures" }), ...(dream.telling.length ? [telling] : []),
    make("div", { className: "row" }, button("draw", async () => { await change("draw", { count: Number(count.value), generator: who.value }); }, { disabled: !dream.text }), count, who),
    make("div", { className: "pictures" }, ...shown));
}

async function change(verb, order) {
  if (!await leave()) return;
  const made = await doing(() => call(`/dreams/of/${open.id}/${verb}`, order));
  if (made) { open = made; detail(); again(); }
}

async function forget() {
  if (!sure("Delete this dream, its recording and its pictures? Nothing of it is left.")) return;
  await doing(async () => { await call(`/dreams/of/${open.id}/delete`, {}); typing = false; open = null; detail(); again(); note("it is deleted"); });
}

// -- all of them ---------------------------------------------------------------------------------------------

async function overview() {
  const about = await doing(() => call("/dreams/about"));
  if (!about || open) return;
  const chips = (rows, deed) => make("div", { className: "chips" }, ...rows.map(([word, count]) => button(`${word} ${count}`, () => deed(word))));
  const parts = [];
  const days = Object.keys(about.days);
  if (days.length) parts.push(make("div", { className: "card" }, make("h2", { textContent: "nights" }), ...months(about.days)));
  if (about.signs.length) parts.push(make("div", { className: "card" }, make("h2", { textContent: "what returns" }), chips(about.signs, (word) => { $("search").value = word; again(); })));
  if (about.tags.length) parts.push(make("div", { className: "card" }, make("h2", { textContent: "tags" }), chips(about.tags, (word) => { tag = word; again(); })));
  if (!parts.length) parts.push(make("div", { className: "card" }, make("p", { textContent: "Tell a dream while it is fresh: press the button and whisper. It is written down afterwards. You can also type it." })));
  $("detail").replaceChildren(...parts);
}

function months(days) {
  const last = Object.keys(days).sort().reverse();
  return [...new Set(last.map((one) => one.slice(0, 7)))].slice(0, 12).map((month) => {
    const [year, number] = month.split("-").map(Number);
    const count = new Date(year, number, 0).getDate();
    const first = (new Date(year, number - 1, 1).getDay() + 6) % 7;
    const cells = Array.from({ length: count }, (_, i) => {
      const date = `${month}-${String(i + 1).padStart(2, "0")}`;
      const dreams = days[date] ?? 0;
      return button(String(i + 1), () => { day = date; again(); }, { className: dreams > 1 ? "many" : dreams ? "has" : "", disabled: !dreams, title: dreams ? `${dreams} on ${date}` : "" });
    });
    if (cells.length) cells[0].style.gridColumnStart = first + 1;
    const name = new Date(year, number - 1, 1).toLocaleDateString(undefined, { month: "long", year: "numeric" });
    return make("div", { className: "calendar" }, button(name, () => { day = month; again(); }, { className: "quiet" }), make("div", { className: "month" }, ...cells));
  });
}

// -- what is done --------------------------------------------------------------------------------------------

$("new").addEventListener("submit", (event) => {
  event.preventDefault();
  void doing(async () => {
    if (!await leave()) return;
    open = await call("/dreams/write", { text: $("text").value });
    $("text").value = "";
    detail();
    again();
    note("kept");
  });
});
$("search").addEventListener("input", again);
$("more").addEventListener("click", () => { skip += 200; drawn = ""; void doing(list); });
$("pdf").addEventListener("click", () => void load("/dreams/pdf", "dreams.pdf"));
$("delete").addEventListener("click", () => {
  if (!sure("Delete all dreams, recordings and pictures? Nothing of them is left. vjserver dream export keeps a copy before.")) return;
  void doing(async () => { await call("/dreams/delete-everything", { everything: true }); typing = false; open = null; detail(); again(); note("everything is deleted"); });
});
new Recorder($("record"), "/dreams", () => ({}), (made) => void show(made.id));
takeFile($("file"), "/dreams", () => ({}), (made) => void show(made.id));
window.addEventListener("beforeunload", (event) => { if (typing) event.preventDefault(); });

async function look() {
  try {
    await list();
    const waits = open && (open.hearing === "wanted" || open.cards.some((card) => card.making === "wanted"));
    if (waits && !typing) {
      const now = await call(`/dreams/of/${open.id}`);
      if (now.id === open?.id && JSON.stringify(now) !== JSON.stringify(open) && !typing) { open = now; detail(); }
    }
  } catch { /* it is asked again */ }
  setTimeout(look, LOOK_MS);
}

detail();
void look();

// Boards: of thousands of cards only those are in the page that can be seen, and a few around them. Cards come in
// windows by their place; a board counts its changes, and when it has counted on, what is seen is asked for again.
const HEAD_MS = 1000;
const WINDOW = 100; // cards that are asked for at once
const AHEAD = 1.0; // screens that are drawn above and below
const MOST_DRAWN = 300;
const [WIDE, GAP, BELOW] = [220, 12, 70]; // a card's least width, what is between cards, its text

const $ = (id) => document.getElementById(id);
const scroll = $("scroll");
const grid = $("grid");

let board = null; // what is known of the board that is shown
let generators = [];
let change = -1;
let total = 0;
let rows = new Map(); // place -> card
let coming = new Set(); // windows that were asked for
let drawn = new Map(); // card number -> element
let chosen = []; // card numbers
let anchor = -1; // the place from which Shift selects
let asked = 0; // counts what is asked for: an answer to an older search is left
let dragged = null;
let open = 0; // the card whose details are shown
let pressed = false; // whether a pointer is down in the details
let later = null; // what is drawn when it is up again

function note(text, bad = false) {
  $("note").textContent = text;
  $("note").className = bad ? "bad" : "";
}

async function call(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body) };
  const answer = await fetch(`/board/${path}`, { credentials: "same-origin", ...options });
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.error ?? `the server said ${answer.status}`);
  return data;
}

/** Do what somebody asked for, and say what was wrong with it. */
async function doing(deed) {
  try { note(""); return await deed(); } catch (error) { note(error.message, true); return null; }
}

function make(tag, fields = {}, ...inside) {
  const { data, ...plain } = fields;
  const element = Object.assign(document.createElement(tag), plain);
  for (const [name, value] of Object.entries(data ?? {})) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

const media = (name) => `/board/media/${name}`;
const stands = (card) => card.versions.find((one) => one.id === card.version);
const waits = (card) => card.versions.find((one) => one.making === "wanted");
const failed = (card) => { const last = card.versions.at(-1); return last?.making === "failed" ? last : null; };
const filter = () => ({ search: $("search").value.trim(), starred: $("starred").getAttribute("aria-pressed") === "true" });

// -- the grid ------------------------------------------------------------------------------------------------

function layout() {
  const width = scroll.clientWidth - 28;
  const columns = Math.max(1, Math.floor((width + GAP) / (WIDE + GAP)));
  const wide = (width - GAP * (columns - 1)) / columns;
  const high = wide * 9 / 16 + BELOW;
  return { columns, wide, high };
}

async function fetchWindow(number) {
  if (coming.has(number) || !board) return;
  coming.add(number);
  const own = asked;
  const { search, starred } = filter();
  const query = new URLSearchParams({ offset: number * WINDOW, count: WINDOW, search, starred: starred ? 1 : 0 });
  try {
    const answer = await call(`of/${board.id}/cards?${query}`);
    if (own !== asked) return;
    const newer = answer.change > change && change >= 0;
    change = Math.max(change, answer.change);
    if (newer && [...rows.keys()].some((place) => Math.floor(place / WINDOW) !== number)) { refresh(); return; } // what else is shown is older
    total = answer.total;
    for (let i = 0; i < WINDOW; i++) rows.delete(number * WINDOW + i);
    answer.cards.forEach((card, i) => rows.set(number * WINDOW + i, card));
    draw();
  } catch (error) { note(error.message, true); }
  finally { if (own === asked) coming.delete(number); }
}

/** Ask for everything anew that is seen; what is seen stays until the answer is there. */
function refresh() {
  asked += 1;
  coming = new Set();
  const { columns, high } = layout();
  const first = Math.floor(Math.floor(scroll.scrollTop / (high + GAP)) * columns / WINDOW);
  const seen = Math.ceil((scroll.clientHeight / (high + GAP) + 2) * columns / WINDOW);
  for (const place of rows.keys()) {
    const window = Math.floor(place / WINDOW);
    if (window < first || window > first + seen) rows.delete(place);
  }
  for (let i = first; i <= first + seen; i++) if (i === 0 || i * WINDOW < total) void fetchWindow(i);
}

/** A filter has changed: what cannot be seen any more is not chosen any more. */
function filtered() {
  rows = new Map();
  chosen = [];
  anchor = -1;
  scroll.scrollTop = 0;
  refresh();
}

function draw() {
  const { columns, wide, high } = layout();
  const lines = Math.ceil(total / columns);
  grid.style.height = `${Math.max(0, lines * (high + GAP) - GAP)}px`;
  const screen = scroll.clientHeight;
  const [first, last] = [Math.floor(scroll.scrollTop / (high + GAP)), Math.ceil((scroll.scrollTop + screen) / (high + GAP)) + 1];
  const spare = Math.max(0, Math.min(Math.ceil(AHEAD * screen / (high + GAP)), Math.floor((MOST_DRAWN / columns - (last - first)) / 2)));
  const from = Math.max(0, first - spare) * columns;
  const to = Math.min(total, from + MOST_DRAWN, (last + spare) * columns);
  const stay = new Set();
  for (let place = from; place < to; place++) {
    const card = rows.get(place);
    if (!card) { void fetchWindow(Math.floor(place / WINDOW)); continue; }
    stay.add(card.id);
    let element = drawn.get(card.id);
    if (!element || element.change !== card.change) {
      const fresh = cardElement(card);
      if (element) element.replaceWith(fresh); else grid.append(fresh);
      drawn.set(card.id, (element = fresh));
    }
    element.place = place;
    element.classList.toggle("chosen", chosen.includes(card.id));
    element.setAttribute("aria-selected", chosen.includes(card.id));
    element.style.width = `${wide}px`;
    element.style.height = `${high}px`;
    element.style.transform = `translate(${(place % columns) * (wide + GAP)}px, ${Math.floor(place / columns) * (high + GAP)}px)`;
  }
  for (const [id, element] of drawn) if (!stay.has(id)) { element.remove(); drawn.delete(id); }
  grid.querySelector(".empty")?.remove();
  if (!total && change >= 0) grid.append(make("p", { className: "empty", textContent: filter().search || filter().starred ? "nothing matches" : "no card yet: what becomes the picture in a show comes here; or type above" }));
  $("count").textContent = total === 1 ? "1 card" : `${total} cards`;
  document.body.dataset.ready = "1";
}

function cardElement(card) {
  const version = stands(card);
  const waiting = waits(card);
  const fault = failed(card);
  const frame = make("div", { className: "frame" }, version || waiting ? "" : "no picture yet");
  if (version) frame.append(make("img", { src: media(version.thumb), alt: "", loading: "lazy", decoding: "async", draggable: false }));
  if (waiting) frame.append(make("span", { className: "making", textContent: "is being made …" }));
  else if (fault) frame.append(make("span", { className: "making failed", textContent: "could not be made", title: fault.why }));
  const star = make("button", { type: "button", className: "star", textContent: "★", title: "star (S)", data: { "aria-pressed": card.star, "aria-label": "star" } });
  star.addEventListener("click", (event) => { event.stopPropagation(); void write(card.id, { star: !card.star }); });
  const when = new Date(card.t_s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const how = { said: card.who || "said", typed: "typed", made: "typed here" }[card.heard];
  const element = make("div", { className: "card", draggable: true, title: card.said || card.text, data: { role: "option", "data-card": card.id } },
    frame, star, make("p", { textContent: card.text }), make("small", { textContent: `${when} · ${how}${card.versions.length > 1 ? ` · ${card.versions.length} pictures` : ""}${card.sound ? " · ♪" : ""}` }));
  element.change = card.change;
  element.card = card;
  return element;
}

const cardAt = (event) => event.target.closest?.(".card");

grid.addEventListener("click", (event) => {
  const element = cardAt(event);
  if (!element) return;
  const id = element.card.id;
  if (event.shiftKey && anchor >= 0) {
    const [low, high] = [Math.min(anchor, element.place), Math.max(anchor, element.place)];
    chosen = [];
    for (let place = low; place <= high; place++) if (rows.get(place)) chosen.push(rows.get(place).id);
  } else if (event.ctrlKey || event.metaKey) {
    chosen = chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id];
    anchor = element.place;
  } else {
    chosen = [id];
    anchor = element.place;
    void show(id);
  }
  draw();
  scroll.focus({ preventScroll: true });
});

grid.addEventListener("dragstart", (event) => {
  const element = cardAt(event);
  if (!element) return;
  const known = chosen.filter((id) => [...rows.values()].some((card) => card.id === id));
  if (known.length !== chosen.length && chosen.includes(element.card.id)) { note("some of the chosen cards are too far away: scroll over them first", true); event.preventDefault(); return; }
  const inOrder = [...rows].filter(([, card]) => chosen.includes(card.id)).sort(([a], [b]) => a - b).map(([, card]) => card.id);
  dragged = chosen.includes(element.card.id) ? inOrder : [element.card.id];
  event.dataTransfer.setData("text/plain", element.card.text);
  event.dataTransfer.effectAllowed = "move";
});
grid.addEventListener("dragover", (event) => {
  if (!dragged) return;
  event.preventDefault();
  grid.querySelector(".before")?.classList.remove("before");
  cardAt(event)?.classList.add("before");
});
grid.addEventListener("drop", (event) => {
  event.preventDefault();
  const target = cardAt(event);
  grid.querySelector(".before")?.classList.remove("before");
  if (dragged && !dragged.includes(target?.card.id)) void move(dragged, target?.card.id ?? null);
  dragged = null;
});
grid.addEventListener("dragend", () => { dragged = null; grid.querySelector(".before")?.classList.remove("before"); });

async function move(cards, before) {
  await doing(() => call(`of/${board.id}/move`, { cards, before }));
  refresh();
}

/** Move what is chosen one place on (or back): the same as dragging, for the keyboard. */
function shift(by) {
  const places = [...rows].filter(([, card]) => chosen.includes(card.id)).map(([place]) => place).sort((a, b) => a - b);
  if (!places.length) return;
  const target = by < 0 ? places[0] - 1 : places.at(-1) + 2;
  if (target < 0 || (by > 0 && target > total)) return;
  if (target < total && !rows.has(target)) return; // it is not known yet what stands there
  void move(places.map((place) => rows.get(place).id), rows.get(target)?.id ?? null);
}

async function write(id, what) {
  const card = await doing(() => call(`card/${id}`, what));
  if (card) took(card);
}

/** A card has changed: show it so at once. */
function took(card) {
  for (const [place, one] of rows) if (one.id === card.id) rows.set(place, card);
  draw();
  if (open === card.id) details(card);
}

async function remove(ids) {
  if (!ids.length || !confirm(ids.length === 1 ? "Delete this card, its pictures and its sound?" : `Delete ${ids.length} cards, their pictures and sounds?`)) return;
  await doing(() => call("cards/delete", { cards: ids }));
  chosen = [];
  if (ids.includes(open)) hide();
  refresh();
}

scroll.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey) return;
  const { columns } = layout();
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  if (event.altKey && (event.key === "ArrowRight" || event.key === "ArrowLeft")) { event.preventDefault(); shift(steps[event.key]); return; }
  if (event.key in steps) {
    event.preventDefault();
    const place = Math.max(0, Math.min(total - 1, (anchor < 0 ? 0 : anchor) + steps[event.key]));
    const card = rows.get(place);
    if (card) { anchor = place; chosen = [card.id]; void show(card.id); draw(); drawn.get(card.id)?.scrollIntoView({ block: "nearest" }); }
  } else if (event.key === "s" && chosen.length) {
    const first = [...rows.values()].find((card) => card.id === chosen[0]);
    chosen.forEach((id) => void write(id, { star: !first?.star }));
  } else if (event.key === "Delete" || event.key === "Backspace") void remove(chosen);
  else if (event.key === "Escape") hide();
  else if (event.key === "c" && chosen.length === 2) void compare(chosen);
});

// -- a card --------------------------------------------------------------------------------------------------

async function show(id) {
  open = id;
  const card = await doing(() => call(`card/${id}`));
  if (card && open === id) details(card);
}

function hide() {
  open = 0;
  $("detail").hidden = true;
  draw();
}

function details(card) {
  const box = $("detail");
  if (box.card === card.id && box.change === card.change && !box.hidden) return;
  if (box.card === card.id && box.contains(document.activeElement) && document.activeElement.matches("textarea")) return; // somebody types
  if (pressed) { later = () => details(card); return; } // nothing moves under a finger
  box.card = card.id;
  box.change = card.change;
  const version = stands(card);
  const text = make("textarea", { value: card.text, rows: 3, maxLength: 1000 });
  const notes = make("textarea", { value: card.notes, rows: 3, maxLength: 4000, placeholder: "action, camera, sound …" });
  text.addEventListener("change", () => void write(card.id, { text: text.value }));
  notes.addEventListener("change", () => void write(card.id, { notes: notes.value }));
  const generator = make("select", {}, ...generators.map((kind) => make("option", { value: kind, textContent: kind })));
  generator.value = version?.generator ?? waits(card)?.generator ?? generators[0];
  const again = (seed) => doing(async () => {
    if (text.value !== card.text) await call(`card/${card.id}`, { text: text.value });
    took(await call(`card/${card.id}/render`, { seed, generator: generator.value }));
  });
  const strip = make("div", { className: "strip" });
  for (const one of card.versions.filter((row) => row.making === "made")) {
    const button = make("button", { type: "button", title: `seed ${one.seed}, ${one.generator}`, data: { "aria-pressed": one.id === card.version } }, make("img", { src: media(one.thumb), alt: `seed ${one.seed}` }));
    button.addEventListener("click", (event) => {
      if (event.altKey || event.shiftKey) besides(version, one); else void write(card.id, { version: one.id });
    });
    strip.append(button);
  }
  const row = make("div", { className: "row" });
  const button = (label, deed, fields = {}) => { const one = make("button", { type: "button", textContent: label, ...fields }); one.addEventListener("click", deed); row.append(one); return one; };
  button(version ? "another picture" : "make the picture", () => void again("other"));
  button("same seed", () => void again("same"));
  row.append(generator);
  button("side by side", () => besides(card.versions.filter((one) => one.making === "made").at(-2), version), { disabled: card.versions.filter((one) => one.making === "made").length < 2 });
  button("drop this picture", () => doing(async () => took(await call(`card/${card.id}/drop`, { version: version.id }))), { disabled: !version });
  button("delete card", () => void remove([card.id]), { className: "danger" });
  button("close", hide);
  const fault = failed(card);
  const facts = version ? `${version.prompt} — seed ${version.seed}, ${version.generator}${version.model ? ` (${version.model})` : ""}${version.licence ? `, ${version.licence}` : ""}` : "";
  box.replaceChildren(
    ...(version ? [make("img", { className: "large", src: media(version.picture), alt: card.text })] : []),
    ...(waits(card) ? [make("p", { className: "facts", textContent: "a picture is being made …" })] : []),
    ...(stands(card)?.why ? [make("p", { className: "facts", textContent: stands(card).why })] : []),
    ...(fault ? [make("p", { className: "facts", textContent: `the last picture could not be made: ${fault.why}` })] : []),
    make("label", {}, "text", text), make("label", {}, "action and notes", notes), row, strip,
    make("p", { className: "facts", textContent: facts }),
    ...(card.said && card.said !== card.text ? [make("p", { className: "facts", textContent: `said: ${card.said}` })] : []),
    ...(card.sound ? [make("audio", { src: media(card.sound), controls: true, preload: "none" })] : []),
  );
  box.hidden = false;
  draw();
}

function besides(one, other) {
  if (!one || !other) return;
  const side = (version) => make("figure", {}, make("img", { src: media(version.picture), alt: "" }), make("figcaption", { className: "facts", textContent: `${version.prompt} — seed ${version.seed}, ${version.generator}` }));
  const close = make("button", { type: "button", textContent: "close" });
  close.addEventListener("click", () => $("compare").close());
  $("compare").replaceChildren(make("div", { className: "sides" }, side(one), side(other)), close);
  $("compare").showModal();
}

async function compare(ids) {
  const cards = await Promise.all(ids.map((id) => call(`card/${id}`)));
  besides(...cards.map(stands));
}

// -- boards --------------------------------------------------------------------------------------------------

async function list(want) {
  const { boards, generators: kinds } = await call("boards");
  generators = kinds;
  $("boards").replaceChildren(...boards.map((one) => make("option", { value: one.id, textContent: `${one.name} (${one.cards})` })));
  const id = boards.some((one) => one.id === want) ? want : boards[0]?.id;
  if (id) { $("boards").value = id; if (board?.id !== id) await go(id); } else { board = null; change = 0; total = 0; rows = new Map(); draw(); }
}

async function go(id) {
  board = await call(`of/${id}`);
  history.replaceState(null, "", `#${id}`);
  change = -1; total = 0; rows = new Map(); chosen = []; anchor = -1;
  hide();
  scroll.scrollTop = 0;
  refresh();
}

async function look() {
  try {
    if (board) {
      const head = await call(`of/${board.id}/head`);
      if (head.change === -1) await list();
      else if (head.change !== change) {
        change = head.change;
        refresh();
        if (open) void show(open);
      }
    } else await list();
    if ($("note").textContent === "the server does not answer") note("");
  } catch { note("the server does not answer", true); }
  setTimeout(look, HEAD_MS);
}

function styleDialog() {
  const dialog = $("style");
  const field = (name, label) => { const input = make("input", { value: board[name], maxLength: 1000 }); input.addEventListener("change", () => doing(async () => { board = await call(`of/${board.id}/edit`, { [name]: input.value }); void list(board.id); })); return make("label", {}, label, input); };
  const member = (one) => {
    const lookInput = make("input", { value: one.look, placeholder: "how it looks", maxLength: 1000 });
    const save = () => doing(async () => { board = await call(`of/${board.id}/cast`, { name: one.name, look: lookInput.value }); styleDialog(); });
    lookInput.addEventListener("change", save);
    const gone = make("button", { type: "button", textContent: "take out", className: "danger" });
    gone.addEventListener("click", () => { lookInput.value = ""; void save(); });
    const file = make("input", { type: "file", accept: "image/jpeg,image/png" });
    file.addEventListener("change", () => doing(async () => { board = await call(`of/${board.id}/cast-picture?name=${encodeURIComponent(one.name)}`, file.files[0]); styleDialog(); }));
    const picture = make("label", { className: "file" }, one.picture ? make("img", { src: media(one.picture), alt: `picture of ${one.name}` }) : "picture", file);
    return make("div", { className: "member" }, make("b", { textContent: one.name }), lookInput, picture, gone);
  };
  const name = make("input", { placeholder: "name", maxLength: 60 });
  const how = make("input", { placeholder: "an old fisherwoman in a yellow coat", maxLength: 1000 });
  const form = make("form", { className: "member" }, name, how, make("button", { textContent: "add" }));
  form.addEventListener("submit", (event) => { event.preventDefault(); void doing(async () => { board = await call(`of/${board.id}/cast`, { name: name.value, look: how.value }); styleDialog(); }); });
  const close = make("button", { type: "button", textContent: "close" });
  close.addEventListener("click", () => dialog.close());
  const all = make("button", { type: "button", className: "danger", textContent: "delete all boards" });
  all.addEventListener("click", () => { if (confirm("Delete ALL boards, cards, pictures and sounds? Nothing of them is left.")) void doing(async () => { await call("delete-everything", { everything: true }); dialog.close(); board = null; await list(); }); });
  dialog.replaceChildren(make("h2", { textContent: "style and cast" }), make("div", { className: "stack" }, field("name", "name"), field("style", "style: stands behind every text"), field("negative", "what no picture shall be"),
    make("h2", { textContent: "cast: who is named in a text looks like this" }), ...board.cast.map(member), form), make("div", { className: "row" }, close, all));
  if (!dialog.open) dialog.showModal();
}

// -- what is pressed -----------------------------------------------------------------------------------------

$("boards").addEventListener("change", () => doing(() => go($("boards").value)));
$("new").addEventListener("click", () => { const name = prompt("What is the board called?"); if (name) void doing(async () => list((await call("new", { name })).id)); });
$("search").addEventListener("input", filtered);
$("starred").addEventListener("click", () => { $("starred").setAttribute("aria-pressed", !filter().starred); filtered(); });
$("style-open").addEventListener("click", () => { if (board) styleDialog(); });
$("delete-board").addEventListener("click", () => { if (board && confirm(`Delete the board "${board.name}", its cards, pictures and sounds?`)) void doing(async () => { await call(`of/${board.id}/delete`, {}); board = null; await list(); }); });
$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  void doing(async () => {
    if (!board) await list((await call("new", { name: new Date().toLocaleDateString() })).id);
    await call(`of/${board.id}/card`, { text });
    $("text").value = "";
    refresh();
  });
});
$("export").addEventListener("change", () => doing(async () => {
  const kind = $("export").value;
  $("export").value = "";
  if (!kind || !board) return;
  note("it is being made …");
  const answer = await fetch(`/board/of/${board.id}/export/${kind}`, { credentials: "same-origin" });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `the server said ${answer.status}`);
  const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"))?.[1] ?? "board" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  note(answer.headers.get("x-remarks") ?? "");
}));
$("fountain").addEventListener("change", () => doing(async () => {
  const [file] = $("fountain").files;
  $("fountain").value = "";
  if (file) await list((await call(`import/fountain?name=${encodeURIComponent(file.name.replace(/\.\w+$/, ""))}`, file)).id);
}));
$("detail").addEventListener("pointerdown", () => { pressed = true; });
for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, () => setTimeout(() => {
  pressed = false;
  later?.();
  later = null;
}, 60)); // behind the click
scroll.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
new ResizeObserver(draw).observe(scroll);

list(location.hash.slice(1)).catch((error) => note(error.message, true)).finally(look);

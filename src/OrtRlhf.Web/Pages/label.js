"use strict";
// What the rater sees is what the server says: every answer waits for its confirmation, and a reply brings the next questions, whose pictures are fetched ahead.

const $ = id => document.getElementById(id);
const tick = '<svg viewBox="0 0 48 48" aria-hidden="true"><path d="M10 25l10 10 18-22"/></svg>';
const Settle = 140; // milliseconds that a choice stays in sight
let greeting, rater = localStorage.getItem("rater") || "", view, current, ranks = [], equal = false, busy = false, timer;

const sleep = ms => new Promise(done => setTimeout(done, ms));
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, "0")).join("");
const screen = name => { document.body.dataset.screen = name; };
const trouble = text => { $("trouble").hidden = !text; $("trouble").textContent = text || ""; };
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// Sends until the server has answered: the same request may come twice, the server takes it once.
async function send(path, body) {
  for (let wait = 300; ; wait = Math.min(wait * 2, 4000)) {
    try {
      const reply = await fetch(path, { method: body ? "POST" : "GET", headers: body ? { "Content-Type": "application/json", "X-OrtRlhf": "1" } : {}, body: body && JSON.stringify(body) });
      if (reply.ok || reply.status === 409) { trouble(); return await reply.json(); }
      if (reply.status < 500) { trouble(await reply.text()); return null; }
    } catch { /* not there: again */ }
    trouble(path === "/api/answer" ? "The server does not answer: your choice is not saved yet. Trying again." : "The server does not answer. Trying again.");
    await sleep(wait);
  }
}

const fetched = new Map();
function picture(id) {
  if (!fetched.has(id)) {
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    image.src = `/images/${encodeURIComponent(id)}`;
    fetched.set(id, image.decode().catch(() => {}).then(() => { image.classList.toggle("small", image.naturalWidth <= 160); return image; }));
    if (fetched.size > 60) fetched.delete(fetched.keys().next().value);
  }
  return fetched.get(id);
}

async function show(next) {
  clearTimeout(timer);
  if (!next) return;
  if (view && next.saved > view.saved) { $("saved").classList.remove("up"); void $("saved").offsetWidth; $("saved").classList.add("up"); }
  view = next;
  $("saved").textContent = view.saved;
  const open = Math.max(view.open + view.coming, view.questions.length); // an attention check counts like any other
  $("left").textContent = open ? ` · ${open} to go` : "";
  $("bar").style.width = `${100 * view.saved / Math.max(1, view.saved + open)}%`;
  $("who").textContent = rater;
  $("undo").disabled = !view.last;
  const question = view.questions[0];
  if (!question) {
    current = null;
    $("thanks").textContent = `Thank you, ${rater}.`;
    $("sum").textContent = `${plural(view.saved, "choice")} saved. There is nothing left to choose right now.`;
    screen(view.more ? "wait" : "done");
    timer = setTimeout(refresh, view.more ? 500 : 3000);
    return;
  }
  for (const ahead of view.questions) ahead.candidates.forEach(picture);
  if (current && current.id === question.id && document.body.dataset.screen === "choose" && !ranks.length && !$("cards").className) return;
  const images = await Promise.all(question.candidates.map(picture));
  [current, ranks, equal] = [question, [], false];
  $("prompt").textContent = question.prompt;
  $("cards").className = "";
  $("cards").replaceChildren(...images.map((image, i) => {
    const card = document.createElement("button");
    card.type = "button";
    card.className = "card";
    card.dataset.candidate = question.candidates[i];
    card.setAttribute("aria-label", `Picture ${i + 1}`);
    const key = document.createElement("kbd"), place = document.createElement("span");
    key.textContent = i + 1;
    place.className = "place";
    card.append(image, key, place);
    card.onclick = () => pick(i);
    return card;
  }));
  screen("choose");
  fit();
  marks();
}

// The largest squares that fit, in the arrangement that makes them largest.
function fit() {
  const box = $("cards"), n = current ? current.candidates.length : 0;
  if (!n || !box.clientWidth) return;
  const style = getComputedStyle(box), gap = parseFloat(style.columnGap) || 0;
  const width = box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight), height = box.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  let best = [0, 1];
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns), side = Math.min((width - (columns - 1) * gap) / columns, (height - (rows - 1) * gap) / rows);
    if (side > best[0]) best = [side, columns];
  }
  box.style.setProperty("--side", `${Math.floor(Math.min(best[0], 760))}px`);
  box.style.gridTemplateColumns = `repeat(${best[1]}, auto)`;
}

function marks() {
  const ranking = greeting.mode === "rank" && current && current.candidates.length > 2;
  [...$("cards").children].forEach((card, i) => {
    card.classList.toggle("placed", ranks[i] !== undefined);
    card.lastChild.textContent = ranks[i] === undefined ? "" : ranks[i] + 1;
  });
  const some = ranks.some(r => r !== undefined);
  $("undo").disabled = !view.last && !some;
  $("tie").classList.toggle("on", equal);
  $("tie").lastElementChild.textContent = ranking && some ? "Equal to the last" : "No difference";
}

function pick(i) {
  if (busy || !current || i >= current.candidates.length) return;
  const n = current.candidates.length;
  if (greeting.mode !== "rank" || n === 2) return answer(current.candidates.map((_, j) => j === i ? 0 : 1), i);
  if (ranks[i] !== undefined) return;
  const given = ranks.filter(r => r !== undefined), last = given.length ? Math.max(...given) : -1;
  ranks[i] = equal ? last : last + 1;
  equal = false;
  if (given.length + 1 >= n - 1) {
    const rest = current.candidates.findIndex((_, j) => ranks[j] === undefined);
    if (rest >= 0) ranks[rest] = Math.max(...ranks.filter(r => r !== undefined)) + 1;
    return answer([...ranks]);
  }
  marks();
}

function tie() {
  if (busy || !current) return;
  if (greeting.mode === "rank" && ranks.some(r => r !== undefined)) { equal = !equal; marks(); }
  else answer(current.candidates.map(() => 0));
}

async function answer(given, winner) {
  if (busy || !current) return;
  busy = true;
  const cards = [...$("cards").children];
  if (winner !== undefined) { cards[winner].classList.add("placed"); cards[winner].lastChild.innerHTML = tick; }
  else if (given.length && given.every(r => r === 0)) $("cards").classList.add("tied");
  else given.forEach((rank, i) => { cards[i].classList.add("placed"); cards[i].lastChild.textContent = rank + 1; });
  $("cards").classList.add("settled");
  const body = { rater, id: newId(), question: current.id, candidates: current.candidates, ranks: given, comment: $("comment").value };
  const [next] = await Promise.all([send("/api/answer", body), given.length ? sleep(Settle) : null]);
  if (next) { $("comment").value = ""; comment(false); }
  busy = false;
  await show(next || await send("/api/view", { rater }));
}

async function undo() {
  if (busy || !view) return;
  if (ranks.some(r => r !== undefined)) {
    const last = Math.max(...ranks.filter(r => r !== undefined));
    ranks = ranks.map(r => r === last ? undefined : r);
    equal = false;
    return marks();
  }
  if (!view.last) return;
  busy = true;
  const next = await send("/api/undo", { rater, choice: view.last });
  busy = false;
  await show(next);
}

function comment(open) {
  $("note").hidden = !open;
  $("say").setAttribute("aria-expanded", open);
  $("say").classList.toggle("on", open || $("comment").value.trim() !== "");
  if (open) $("comment").focus(); else $("comment").blur();
}

async function refresh() {
  if (!busy && rater) await show(await send("/api/view", { rater }));
}

function enter() {
  clearTimeout(timer);
  $("name").value = rater;
  screen("enter");
  $("name").focus();
}

$("enter").onsubmit = event => {
  event.preventDefault();
  rater = $("name").value.trim();
  if (!rater) return;
  localStorage.setItem("rater", rater);
  view = current = null;
  screen("loading");
  refresh();
};
$("who").onclick = enter;
$("tie").onclick = tie;
$("skip").onclick = () => answer([]);
$("undo").onclick = undo;
$("say").onclick = () => comment($("note").hidden);
addEventListener("resize", fit);

addEventListener("keydown", event => {
  if (event.target === $("comment")) {
    if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) { event.preventDefault(); comment(false); }
    return;
  }
  if (event.target === $("name") || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key !== "z") return;
  const screenNow = document.body.dataset.screen;
  const action = key === "u" || key === "backspace" || key === "z" ? undo
    : screenNow !== "choose" ? null
    : /^[1-9]$/.test(key) ? () => pick(key - 1)
    : key === "arrowleft" && current.candidates.length === 2 ? () => pick(0)
    : key === "arrowright" && current.candidates.length === 2 ? () => pick(1)
    : key === "t" || key === "=" || key === "0" ? tie
    : key === "s" ? () => answer([])
    : key === "c" ? () => comment(true)
    : null;
  if (!action) return;
  event.preventDefault();
  action();
});

(async () => {
  if (location.search) history.replaceState(null, "", "/"); // the token is in a cookie now
  greeting = await send("/api/greeting");
  if (!greeting) return;
  $("ask").textContent = $("asked").textContent = document.title = greeting.question;
  const touch = matchMedia("(hover: none)").matches;
  $("how").textContent = greeting.mode === "rank" ? `${touch ? "Tap" : "Click"} the pictures in order, the best first${touch ? "" : ", or press their numbers"}.`
    : `${touch ? "Tap the picture" : "Click the picture, or press its number,"} that shows the text above it better than the ${greeting.candidates > 2 ? "others" : "other"}.`;
  if (rater) await refresh(); else enter();
})();

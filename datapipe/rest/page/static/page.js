// Keeps the page as it is now: asks for the same page again, and changes in place what differs. What has the focus, is
// open or was scrolled stays so. The page is whole without it; it adds clocks of the reader's own, and the buttons.
"use strict";

const main = document.querySelector("main"), said = document.getElementById("said"), asOf = document.getElementById("as-of");
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "medium"});
const calendar = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium"});
const PATIENCE = 15_000, PAUSE = 1_000, LINES = 3; // milliseconds: for an answer, and between two looks
let timer, stream, busy = false, again = false, away = false, seen = new Date();

// The last few things that have changed; a screen reader says each once.
function say(text) {
  said.append(Object.assign(document.createElement("p"), {textContent: `${clock.format(new Date())} ${text}`}));
  if (said.childElementCount > LINES) said.firstElementChild.remove();
}

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = `${time.textContent} UTC`;
    time.textContent = ("brief" in time.dataset ? clock : calendar).format(at);
  }
}

// What an element is known by among its siblings: they may be joined by others before them.
function key(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return "";
  return node.id || (node.nodeName === "DETAILS" ? node.firstChild?.textContent.replace(/\d+/g, "") : "");
}

function isLike(one, other) {
  return one.nodeName === other.nodeName && key(one) === key(other);
}

function patch(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const {name} of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !["open", "tabindex"].includes(name)) old.removeAttribute(name);
  }
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    let like = at;
    while (like && !isLike(like, child)) like = key(child) ? like.nextSibling : null;
    if (!like) old.insertBefore(child, at);
    else {
      while (at !== like) at = drop(at); // what was before it is gone
      at = like.nextSibling;
      patch(like, child);
    }
  }
  while (at) at = drop(at);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function states(root) {
  return new Map([...root.querySelectorAll("[data-state]")].map(({dataset, id}) => [id, dataset]));
}

function changes(before, after) {
  const found = [];
  for (const [id, {state, name}] of after) {
    if (before.get(id)?.state !== state) found.push(`${name}: ${state}`);
  }
  return found.length > 3 ? `${found.length} runs have changed` : found.join("; ");
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html"), its = fresh.querySelector("main");
  localise(its);
  const before = new Map([...states(main)].map(([id, {...known}]) => [id, known])), had = main.contains(document.activeElement);
  document.title = fresh.title;
  patch(main, its);
  if (had && !main.contains(document.activeElement)) main.querySelector("h1")?.focus();
  const news = changes(before, states(main));
  if (news) say(news);
  reachable();
}

// What scrolls can be scrolled by keys.
function reachable() {
  for (const area of main.querySelectorAll('.wide, pre, [style*="overflow-x"]')) {
    if (area.scrollWidth > area.clientWidth) area.tabIndex = 0;
  }
}

function stamp(trouble) {
  asOf.textContent = `As of ${clock.format(seen)}${trouble ? `; ${trouble}` : ""}`;
  asOf.classList.toggle("away", Boolean(trouble));
  if (trouble && !away) say(`This page is no longer kept up to date: ${trouble}`);
  if (!trouble && away) say("This page is up to date again");
  away = Boolean(trouble);
}

async function look() {
  if (busy) {
    again = true;
    return;
  }
  clearTimeout(timer);
  [busy, again] = [true, false];
  try {
    const headers = {"If-None-Match": main.dataset.tag};
    const answer = await fetch(location.pathname + location.search, {headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE)});
    if (answer.ok) show(await answer.text());
    const fine = answer.ok || answer.status === 304;
    if (fine) seen = new Date();
    stamp(fine ? "" : `the server refuses it (${answer.status}). Refresh to see why`);
  } catch {
    stamp("the server does not answer");
  }
  await new Promise(resolve => setTimeout(resolve, PAUSE));
  busy = false;
  next();
}

function next() {
  clearTimeout(timer);
  if (document.hidden || !main.dataset.every) return;
  follow();
  if (again) look();
  else timer = setTimeout(look, main.dataset.every * 1000);
}

function follow() {
  const {events} = main.dataset;
  if (!events || document.hidden) {
    stream?.close();
    stream = null;
  } else if (!stream || stream.readyState === EventSource.CLOSED) {
    stream = new EventSource(events);
    for (const kind of ["run", "end"]) stream.addEventListener(kind, look);
    stream.addEventListener("end", () => stream.close());
  }
}

async function press(button) {
  if (button.ariaDisabled) return; // a disabled one would lose the focus
  const dialog = button.dataset.ask && document.getElementById(button.dataset.ask);
  if (dialog) {
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise(resolve => dialog.addEventListener("close", resolve, {once: true}));
    if (dialog.returnValue !== "yes") return;
  }
  button.ariaDisabled = "true";
  try {
    const headers = {"Content-Type": "application/json"};
    const answer = await fetch(button.dataset.post, {method: "POST", headers, signal: AbortSignal.timeout(PATIENCE)});
    say(answer.ok ? done(await answer.json()) : refused(await answer.json()));
  } catch {
    say("The server does not answer: whether it has heard of this is not known");
  }
  button.ariaDisabled = null;
  look();
}

function done({cancel_requested: asked}) {
  if (typeof asked !== "boolean") return "The run is queued again";
  return asked ? "The run was asked to stop" : "The run had ended already";
}

function refused({detail, hint}) {
  return [detail, hint].filter(Boolean).join(". ");
}

document.addEventListener("click", ({target}) => {
  const button = target.closest("[data-post]");
  if (button) press(button);
});
document.addEventListener("visibilitychange", () => {
  follow();
  if (document.hidden) clearTimeout(timer);
  else if (main.dataset.every) look();
});
addEventListener("resize", reachable);
localise(document);
document.getElementById("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
reachable();
next();

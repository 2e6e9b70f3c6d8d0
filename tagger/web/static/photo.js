// One photo, on a page of its own or opened over the grid: its tags by the keyboard, and what is in focus after a
// word was said, when the server has rendered all anew.
import { toast } from "./toast.js";

const VERDICTS = { c: "confirm", r: "reject", u: "none" };

const shown = () => document.querySelector("dialog[open] .photo") ?? document.querySelector("main > .photo");
const lines = (photo) => [...photo.querySelectorAll(".line")];
// The line that keys speak of; just after a word was said it has no focus yet.
const current = (photo) =>
  photo.querySelector(".line:focus-within, .line:focus") ??
  photo.querySelector(".line.current") ??
  (photo.dataset.id === last?.id ? lines(photo).find((line) => line.dataset.tag === last.tag) : null);

function focusLine(line) {
  if (!line) return;
  for (const other of lines(line.closest(".photo"))) {
    other.tabIndex = other === line ? 0 : -1;
    other.classList.toggle("current", other === line);
  }
  line.focus();
}

// A photo that was opened: at the tag that it was found for, else at its name, which is then read out.
export function begin(viewer, tag) {
  const photo = viewer.querySelector(".photo");
  if (!photo || photo.contains(document.activeElement) || photo.dataset.id === last?.id) return;
  const line = lines(photo).find((each) => each.dataset.tag === tag);
  line ? focusLine(line) : photo.focus();
}

export function photoKeys(event) {
  const photo = shown();
  if (!photo) return;
  const line = current(photo);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    const all = lines(photo);
    const here = all.indexOf(photo.contains(document.activeElement) ? line : null);
    focusLine(all[Math.max(0, Math.min(all.length - 1, here + step))]);
  } else if (VERDICTS[event.key]) {
    event.preventDefault();
    if (line) sayOf(photo, line, VERDICTS[event.key]);
    else toast("Which tag? ↑ and ↓ go to one.", true);
  }
}

// Words are sent one after the other, for each answer shows all that is known, and an earlier one must not come last.
const waiting = [];
let isSaying = false;

const photoOf = (verb, path) => (verb === "post" ? path.match(/^\/photos\/(\d+)\/verdicts$/)?.[1] : undefined);

// From a place that stays, whatever becomes of the button.
const send = ({ path, target, values }) =>
  htmx.ajax("POST", path, { source: "#main", target, values, swap: "innerHTML" }).catch(() => {});

function sayNext() {
  isSaying = false;
  const next = waiting.shift();
  if (next) send(next);
}

function sayOf(photo, line, verdict) {
  const { tag } = line.dataset;
  last = { id: photo.dataset.id, tag, place: lines(photo).indexOf(line) };
  const word = { path: `/photos/${last.id}/verdicts`, target: photo.parentElement, values: { tag, verdict } };
  if (isSaying) waiting.push(word);
  else send(word);
}

document.addEventListener("htmx:confirm", (event) => {
  const { elt, path, target, triggeringEvent, verb } = event.detail;
  if (!isSaying || !photoOf(verb, path) || !triggeringEvent) return;
  event.preventDefault();
  waiting.push({ path, target, values: Object.fromEntries(new FormData(elt, triggeringEvent.submitter)) });
});
document.addEventListener("htmx:beforeRequest", (event) => {
  const { requestConfig, xhr } = event.detail;
  if (!photoOf(requestConfig.verb, requestConfig.path)) return;
  isSaying = true;
  xhr.addEventListener("loadend", sayNext);
});
document.addEventListener("htmx:beforeSwap", (event) => {
  const { requestConfig, target } = event.detail;
  const id = photoOf(requestConfig.verb, requestConfig.path);
  // By now another photo may be open.
  if (id && target.querySelector(".photo")?.dataset.id !== id) event.detail.shouldSwap = false;
});

let last = null;

document.addEventListener("htmx:beforeRequest", (event) => {
  const line = event.target.closest?.(".line");
  const photo = event.target.closest?.(".photo");
  if (photo) last = { id: photo.dataset.id, tag: line?.dataset.tag, place: line ? lines(photo).indexOf(line) : -1 };
});
document.addEventListener("htmx:afterSettle", () => {
  const photo = shown();
  // Of several words that were said at once, each answer shows all that is known; the last one has the focus.
  if (!photo || photo.dataset.id !== last?.id || photo.contains(document.activeElement)) return;
  const all = lines(photo);
  const same = all.find((line) => line.dataset.tag === last.tag && !line.classList.contains("rejected"));
  if (last.place >= 0) focusLine(same ?? all[Math.min(last.place, all.length - 1)]);
  else photo.querySelector("#add-tag")?.focus();
});

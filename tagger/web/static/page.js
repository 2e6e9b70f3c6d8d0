// What every page has: keys, words on what was done, and the parts that pages share.
import { combobox, tagNames } from "./combo.js";
import { startGallery } from "./gallery.js";
import { photoKeys } from "./photo.js";
import { toast } from "./toast.js";

const isTyping = (target) => target.closest?.("input:not([type=checkbox]):not([type=range]), select, textarea");

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const help = document.getElementById("help");
  const search = document.getElementById("q");
  if (event.key === "?") {
    event.preventDefault();
    help.open ? help.close() : help.showModal();
  } else if (event.key === "/" && search && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (!help.open) {
    photoKeys(event);
  }
}

async function complain(event) {
  const answer = event.detail.xhr;
  let said = `The server answered ${answer.status}.`;
  try {
    said = JSON.parse(answer.responseText).error.message;
  } catch {
    // no JSON: the number has to do
  }
  toast(said, true);
}

document.addEventListener("keydown", keys);
document.addEventListener("input", (event) => {
  if (event.target.id === "least") {
    document.getElementById("least-shown").value = Number(event.target.value).toFixed(2);
  } else if (event.target.list) {
    tagNames(event.target);
  }
});
// A picture that cannot be shown leaves its name, which is its alternative text; it may be the server that was
// away, so it is asked for again a few times.
const RETRY_MS = [2000, 8000, 30000];
document.addEventListener("error", (event) => {
  const image = event.target;
  image.closest?.(".tile, figure")?.classList.add("broken");
  const tried = Number(image.dataset?.tried ?? 0);
  if (!image.src || tried >= RETRY_MS.length) return;
  image.dataset.tried = tried + 1;
  setTimeout(() => image.isConnected && (image.src = image.src), RETRY_MS[tried]);
}, true);
document.addEventListener("load", (event) => event.target.closest?.(".tile, figure")?.classList.remove("broken"), true);
// What leaves the page needs no answer any more; one that came late would be put into what came after.
document.body.addEventListener("htmx:beforeCleanupElement", (event) => {
  if (event.target.matches?.("[hx-get]")) htmx.trigger(event.target, "htmx:abort"); // never what was said
});
// The slider is about what is shown, and not about what is being typed.
document.body.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.triggeringEvent?.target?.id !== "least") return;
  detail.parameters.q = document.getElementById("results").dataset.q;
});
document.body.addEventListener("htmx:responseError", complain);
document.body.addEventListener("htmx:sendError", () => toast("The server does not answer.", true));

const search = document.getElementById("q");
if (search) combobox(search, document.getElementById("completions"));
startGallery();

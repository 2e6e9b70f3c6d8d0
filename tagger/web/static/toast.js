// A few words at the foot of the page on what was done; a status region, so that they are read out too.
let timer;
const place = document.getElementById("toast"); // kept: a dialog that it was put into may have left the page

// For a `fetch` that came to nothing, whose own words tell nobody anything; one that was broken off is none.
export function nobody(fault) {
  throw fault.name === "AbortError" ? fault : new Error("The server does not answer.");
}

export function toast(said, isFault = false, undo = undefined) {
  // Within an open dialog all else is inert, and unseen by those who listen.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  place.textContent = said;
  if (undo) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Undo" });
    button.addEventListener("click", undo, { once: true });
    place.append(" ", button);
  }
  place.classList.toggle("fault", isFault);
  place.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (place.hidden = true), isFault || undo ? 10000 : 4000);
}

// A few words at the foot of the page on what was done; a status region, so that they are read out too.
let timer;

export function toast(said, isFault = false) {
  const place = document.getElementById("toast");
  // Within an open dialog all else is inert, and unseen by those who listen.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  place.textContent = said;
  place.classList.toggle("fault", isFault);
  place.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (place.hidden = true), isFault ? 8000 : 4000);
}

// The search box offers tags as one types: a combobox as the ARIA authoring practices have it.
const PAUSE_MS = 80;
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

export function combobox(input, list) {
  let active = -1;
  let timer;
  let asked = 0; // rises with all that makes an answer under way stale
  // Keys pressed before the offer for what was typed is there; null when none is awaited. They are for that
  // offer: one that is still shown is for an older text, and goes when the new one comes.
  let early = null;

  const options = () => [...list.children];
  const close = () => {
    clearTimeout(timer);
    asked += 1;
    early = null;
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (index) => {
    active = index;
    options().forEach((option, place) => option.setAttribute("aria-selected", String(place === index)));
    const chosen = options()[index];
    if (chosen) {
      input.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  };
  const pick = (option) => {
    input.value = option.dataset.text;
    close();
    input.focus();
    input.setSelectionRange(Number(option.dataset.at), Number(option.dataset.at));
  };
  // Whether the key was for the list.
  const press = (key) => {
    const step = STEPS[key];
    if (list.hidden || !(step || active >= 0)) return false;
    const count = options().length;
    if (step) mark(active < 0 && step < 0 ? count - 1 : (active + step + count) % count);
    else pick(options()[active]);
    return true;
  };
  const offer = (found) => {
    list.innerHTML = found;
    mark(-1);
    list.hidden = !list.children.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    const keys = early;
    early = null;
    for (const key of keys) if (!press(key) && key === "Enter") input.form.requestSubmit();
  };
  const ask = async () => {
    const mine = asked;
    const query = new URLSearchParams({ q: input.value, at: input.selectionStart ?? input.value.length });
    const answer = await fetch(`/completions?${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
    const found = answer?.ok ? await answer.text().catch(() => "") : "";
    if (mine === asked) offer(found);
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    asked += 1;
    early = [];
    mark(-1); // what is typed counts again, and not what was marked before
    timer = setTimeout(ask, PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    const { key } = event;
    if (early && (key in STEPS || (key === "Enter" && early.length))) early.push(key);
    else if (key === "Escape" && !list.hidden) close();
    else if (!(key in STEPS || key === "Enter" || key === "Tab") || !press(key)) return;
    event.preventDefault();
  });
  list.addEventListener("pointerdown", (event) => {
    const option = event.target.closest("[role=option]");
    event.preventDefault(); // the box keeps the focus
    if (option) pick(option);
  });
  input.addEventListener("blur", close);
  input.form.addEventListener("submit", close);
}

// For the small boxes that take one tag, the browser's own list.
let namesTimer;

export function tagNames(input) {
  clearTimeout(namesTimer);
  namesTimer = setTimeout(async () => {
    const query = new URLSearchParams({ q: input.value, limit: 12 });
    const answer = await fetch(`/api/v1/search/complete?${query}`).catch(() => null);
    if (!answer?.ok) return;
    const { completions } = await answer.json();
    input.list.replaceChildren(...completions.map(({ tag }) => Object.assign(document.createElement("option"), { value: tag })));
  }, PAUSE_MS);
}

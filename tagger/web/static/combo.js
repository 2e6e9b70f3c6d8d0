// The search box offers tags as one types: a combobox as the ARIA authoring practices have it.
const PAUSE_MS = 80;

export function combobox(input, list) {
  let active = -1;
  let timer;
  let asked = 0;

  const options = () => [...list.children];
  const close = () => {
    clearTimeout(timer);
    asked += 1; // an answer that is under way is for nobody
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
  const ask = async () => {
    const mine = ++asked;
    const query = new URLSearchParams({ q: input.value, at: input.selectionStart ?? input.value.length });
    const answer = await fetch(`/completions?${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (mine !== asked || !answer?.ok) return;
    list.innerHTML = await answer.text();
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.hidden = !list.children.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !list.hidden) {
      event.preventDefault();
      const count = options().length;
      mark(active < 0 && step < 0 ? count - 1 : (active + step + count) % count);
    } else if ((event.key === "Enter" || event.key === "Tab") && !list.hidden && active >= 0) {
      event.preventDefault();
      pick(options()[active]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
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

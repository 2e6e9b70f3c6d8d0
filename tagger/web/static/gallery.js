// The grid: only the rows that are near the window are in the page, whatever was scrolled through; photos come in
// pages, each behind the one before. Tiles are the server's own HTML, kept as text.
import { begin } from "./photo.js";
import { nobody, toast } from "./toast.js";
import { inWords, say } from "./verdicts.js";

const SPARE_ROWS = 3; // above and below the window
const NEAR_SCREENS = 3; // of what is loaded: then more is fetched
const GAP = 6;
const SMALL = matchMedia("(max-width: 48rem)");

const isBeside = (dialog, { clientX, clientY }) => {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
};

class Gallery {
  constructor(results) {
    this.results = results;
    this.grid = results.querySelector("#grid");
    this.tiles = [];
    this.ids = [];
    this.known = new Set();
    this.above = 0; // rows above the window
    this.live = new Map(); // by place
    this.selected = new Set(); // ids
    this.said = new Map(); // id: verdict, of this visit
    this.current = 0;
    this.anchor = 0; // where a range begins
    this.next = this.grid.dataset.next;
    this.more = this.grid.dataset.more;
    this.over = new AbortController();
    this.take([...this.grid.children]);
    this.grid.replaceChildren();
    results.querySelector("#more")?.parentElement.remove();
    this.listen();
    this.layout();
  }

  take(elements) {
    for (const element of elements) {
      const id = Number(element.dataset.id);
      if (this.known.has(id)) continue; // it has moved down meanwhile, by another model or a verdict
      this.known.add(id);
      this.tiles.push(element.outerHTML);
      this.ids.push(id);
    }
  }

  listen() {
    const { signal } = this.over;
    const later = () => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.render();
      });
    };
    addEventListener("scroll", later, { passive: true, signal });
    this.resized = new ResizeObserver(() => this.layout());
    this.resized.observe(this.grid.parentElement);
    this.grid.addEventListener("click", (event) => this.click(event), { signal });
    this.grid.addEventListener("focusin", (event) => this.reach(event.target.closest(".tile")), { signal });
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    this.results.querySelector("#select-none").addEventListener("click", () => this.select([], false), { signal });
    this.results.querySelector("#bulk").addEventListener("submit", (event) => this.sayOfAll(event), { signal });
    const everything = this.results.querySelector("#everything");
    everything?.addEventListener("change", () => this.count(), { signal });
    const viewer = this.results.querySelector("#viewer");
    viewer.addEventListener("click", (event) => {
      const go = event.target.closest("[data-go]");
      if (go) this.open(this.opened + Number(go.dataset.go));
      else if (event.target === viewer && isBeside(viewer, event)) viewer.close();
    }, { signal });
    viewer.addEventListener("close", () => {
      if (history.state?.viewed) history.back(); // to the address of the grid
      // The browser gives the focus back to the photo that was opened first, which need not be the last one.
      this.focus(this.opened);
    }, { signal });
    // Before htmx hears of it, which would load the page anew.
    addEventListener("popstate", (event) => this.goBack(event), { capture: true, signal });
    viewer.addEventListener("htmx:beforeSwap", (event) => this.hear(event.detail), { signal });
    viewer.addEventListener("htmx:afterSettle", () => begin(viewer, this.tagOf(this.opened)), { signal });
  }

  end() {
    this.over.abort();
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
  }

  // -- what is in the page -------------------------------------------------------------------

  layout() {
    const width = this.grid.clientWidth;
    if (!width) return;
    const columns = Math.max(3, Math.floor((width + GAP) / ((SMALL.matches ? 110 : 180) + GAP)));
    // In rows as they were, before smaller tiles made the page so short that the browser moved it.
    const above = this.above;
    const first = Math.floor(above) * this.columns;
    this.row = (width - GAP * (columns - 1)) / columns + GAP;
    if (columns === this.columns && width === this.width) return this.render();
    this.columns = columns;
    this.width = width;
    this.grid.style.setProperty("--columns", columns);
    this.render();
    if (above > 0) this.stay(Math.floor(first / columns) + (above % 1));
  }

  // The same photos in sight though all rows have others: `above` of them are above the window.
  stay(above) {
    scrollBy(0, this.grid.getBoundingClientRect().top + above * this.row);
    this.render();
  }

  render() {
    const rows = Math.ceil(this.tiles.length / this.columns);
    const above = this.above = -this.grid.getBoundingClientRect().top / this.row;
    const first = Math.max(0, Math.min(rows - 1, Math.floor(above) - SPARE_ROWS));
    const last = Math.max(first, Math.min(rows - 1, Math.ceil(above + innerHeight / this.row) + SPARE_ROWS));
    this.grid.style.paddingBlockStart = `${first * this.row}px`;
    this.grid.style.paddingBlockEnd = `${(rows - 1 - last) * this.row}px`;
    this.put(first * this.columns, Math.min(this.tiles.length, (last + 1) * this.columns));
    const screen = innerHeight / this.row;
    if (this.next && rows - above - screen < NEAR_SCREENS * screen) this.fetch();
  }

  put(from, to) {
    for (const [place, tile] of this.live) {
      if (place < from || place >= to) {
        tile.remove();
        this.live.delete(place);
      }
    }
    let before = this.grid.firstElementChild;
    for (let place = from; place < to; place += 1) {
      let tile = this.live.get(place);
      if (!tile) {
        tile = this.made(place);
        this.live.set(place, tile);
        this.grid.insertBefore(tile, before);
      } else {
        before = tile.nextElementSibling;
      }
    }
  }

  made(place) {
    const shell = document.createElement("template");
    shell.innerHTML = this.tiles[place];
    const tile = shell.content.firstElementChild;
    tile.place = place;
    tile.setAttribute("aria-posinset", place + 1);
    tile.setAttribute("aria-setsize", this.next ? -1 : this.tiles.length);
    this.dress(tile);
    return tile;
  }

  dress(tile) {
    const id = this.ids[tile.place];
    const isSelected = this.selected.has(id);
    tile.classList.toggle("selected", isSelected);
    tile.querySelector("input").checked = isSelected;
    tile.querySelector("a").tabIndex = tile.place === this.current ? 0 : -1;
    const said = this.said.get(id);
    if (said && said !== "none") tile.dataset.said = said;
    else delete tile.dataset.said;
  }

  dressAll() {
    for (const tile of this.live.values()) this.dress(tile);
  }

  async fetch() {
    if (this.fetching) return;
    this.fetching = true;
    try {
      const address = new URL(this.more, location);
      address.searchParams.set("after", this.next);
      const answer = await fetch(address, { headers: { "HX-Request": "true" }, signal: this.over.signal }).catch(nobody);
      if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
      const page = document.createElement("template");
      page.innerHTML = await answer.text();
      const found = page.content.querySelector("template");
      this.next = found.dataset.next;
      this.take([...found.content.children]);
      this.fetching = false;
      this.layout();
    } catch (fault) {
      if (this.over.signal.aborted) return;
      toast(`No more photos for now: ${fault.message}`, true);
      setTimeout(() => { // who is at the end cannot scroll for another try
        this.fetching = false;
        if (!this.over.signal.aborted) this.render();
      }, 3000);
    }
  }

  // -- from photo to photo -------------------------------------------------------------------

  reach(tile) {
    if (!tile || tile.place === this.current) return;
    const before = this.live.get(this.current);
    this.current = tile.place;
    if (before) this.dress(before);
    this.dress(tile);
  }

  focus(place) {
    const to = Math.max(0, Math.min(this.tiles.length - 1, place));
    const top = this.grid.getBoundingClientRect().top + Math.floor(to / this.columns) * this.row;
    const head = document.querySelector(".top").offsetHeight + GAP;
    if (top < head) scrollBy(0, top - head);
    else if (top + this.row > innerHeight) scrollBy(0, top + this.row - innerHeight);
    this.render();
    const before = this.live.get(this.current);
    this.current = to;
    if (before) this.dress(before);
    const tile = this.live.get(to);
    if (!tile) return;
    this.dress(tile);
    tile.querySelector("a").focus({ preventScroll: true });
  }

  // Up and down stay in the column; what is above the first row or below the last is nowhere.
  beyond(step) {
    const to = this.current + step;
    const row = (place) => Math.floor(place / this.columns);
    if (to < 0 || row(to) > row(this.tiles.length - 1)) return this.current;
    return to;
  }

  open(place) {
    if (place < 0 || place >= this.tiles.length) return;
    const viewer = this.results.querySelector("#viewer");
    this.current = this.opened = place;
    this.remember(viewer.open, this.ids[place]);
    if (!viewer.open) viewer.showModal();
    viewer.querySelector("[data-go='-1']").disabled = place === 0;
    viewer.querySelector("[data-go='1']").disabled = place === this.tiles.length - 1 && !this.next;
    if (this.next && place > this.tiles.length - 2 * this.columns) this.fetch();
    htmx.ajax("GET", `/photos/${this.ids[place]}`, { target: "#viewed", swap: "innerHTML" })
      .catch(() => (this.results.querySelector("#viewed").textContent = "This photo cannot be shown just now."));
  }

  // An open photo has an address of its own, so that going back closes it.
  remember(isOpen, id) {
    if (history.state?.viewed === id) return;
    if (!isOpen) {
      this.address = location.href;
      history.scrollRestoration = "manual"; // closing leads to the photo that was looked at last
      history.replaceState({ ...history.state, htmx: true }, "");
    }
    // Should the page be another one by then, loaded anew in between, htmx loads what the address says.
    history[isOpen ? "replaceState" : "pushState"]({ viewed: id, htmx: true }, "", `/photos/${id}`);
  }

  goBack(event) {
    const viewed = event.state?.viewed;
    if (viewed && this.ids.includes(viewed)) this.open(this.ids.indexOf(viewed));
    else if (!viewed && location.href === this.address) this.results.querySelector("#viewer").close();
    else return;
    event.stopImmediatePropagation();
  }

  click(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const box = event.target.closest("input");
    if (box) {
      this.pick(tile.place, event.shiftKey, box.checked);
    } else if (event.target.closest("a") && !(event.ctrlKey || event.metaKey || event.button)) {
      event.preventDefault();
      if (event.shiftKey) this.pick(tile.place, true, true);
      else this.open(tile.place);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    if (document.querySelector("dialog[open]")) {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (way && this.results.querySelector("#viewer").open) this.open(this.opened + way);
      return;
    }
    const within = this.grid.contains(event.target);
    if (!within && event.target !== document.body && event.target.id !== "main") return;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[event.key];
    const deed = { c: "confirm", r: "reject", u: "none" }[event.key];
    if (step && (within || step === 1)) {
      event.preventDefault();
      if (event.shiftKey && !this.selected.has(this.ids[this.current])) this.anchor = this.current;
      this.focus(within ? this.beyond(step) : this.current);
      if (event.shiftKey) this.pick(this.current, true, true);
    } else if (event.key === "x" || event.key === "X") {
      this.pick(this.current, event.shiftKey, !this.selected.has(this.ids[this.current]));
    } else if (event.key === "Escape") {
      this.select([], false);
    } else if (deed && within) {
      this.sayOf(this.current, deed);
    }
  }

  // -- selecting and saying ------------------------------------------------------------------

  pick(place, isRange, on) {
    const [from, to] = isRange ? [Math.min(this.anchor, place), Math.max(this.anchor, place)] : [place, place];
    if (!isRange) this.anchor = place;
    for (let each = from; each <= to; each += 1) {
      if (on) this.selected.add(this.ids[each]);
      else this.selected.delete(this.ids[each]);
    }
    this.count();
  }

  select(ids, on) {
    this.selected = new Set(on ? ids : []);
    const everything = this.results.querySelector("#everything");
    if (everything) everything.checked = false;
    this.count();
  }

  count() {
    this.dressAll();
    const bulk = this.results.querySelector("#bulk");
    const all = this.results.querySelector("#everything")?.checked;
    bulk.hidden = !this.selected.size;
    bulk.querySelector("#selected").textContent = all
      ? "All that the search finds"
      : `${this.selected.size.toLocaleString("en")} selected`;
    const tag = bulk.querySelector("#bulk-tag");
    if (!tag.value) tag.value = this.live.get(this.current)?.dataset.tag ?? "";
  }

  async sayOf(place, verdict) {
    const tag = this.tagOf(place);
    if (!tag) {
      toast("This photo was not found for a tag: open it, or search for one.", true);
      return;
    }
    await this.tell(verdict, tag, { images: [this.ids[place]] }, [this.ids[place]]);
  }

  async sayOfAll(event) {
    event.preventDefault();
    const verdict = event.submitter.value;
    const tag = event.target.elements.tag.value.trim();
    const { q, album, min } = this.results.dataset;
    const all = this.results.querySelector("#everything")?.checked;
    const which = all ? { where: q, min: Number(min), ...(album && { album }) } : { images: [...this.selected] };
    if (all && !confirm(`${{ confirm: "Confirm", reject: "Reject", none: "Take back" }[verdict]} ${tag} on all photos that ${q ? `"${q}" finds` : "are here"}${album ? ` in the album ${album}` : ""} (${document.getElementById("total").textContent})?`)) return;
    await this.tell(verdict, tag, which, all ? this.ids : which.images);
  }

  // What was said in the open photo, of the tag that it was found for.
  hear({ requestConfig, isError }) {
    const about = requestConfig.path.match(/^\/photos\/(\d+)\/verdicts$/);
    if (!about || isError) return;
    const { tag, verdict } = requestConfig.parameters;
    const id = Number(about[1]);
    if (this.tagOf(this.ids.indexOf(id)) !== tag) return;
    this.said.set(id, verdict === "new" ? "confirm" : verdict);
    this.dressAll();
  }

  tagOf(place) {
    const shell = document.createElement("template");
    shell.innerHTML = this.tiles[place] ?? "";
    return shell.content.firstElementChild?.dataset.tag;
  }

  async tell(verdict, tag, which, ids) {
    const buttons = this.results.querySelectorAll("#bulk button");
    for (const button of buttons) button.disabled = true; // once is enough, and of thousands it takes seconds
    if (ids.length > 500) toast("Working …");
    try {
      const noted = await say(verdict, tag, which);
      for (const id of ids) this.said.set(id, verdict);
      this.dressAll();
      const images = noted.images ?? which.images;
      const undo = () => this.tell("none", tag, { images }, images);
      toast(inWords(verdict, tag, noted), false, verdict === "none" || !noted.new ? undefined : undo);
    } catch (fault) {
      toast(fault.message, true);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}

let gallery;

function start() {
  gallery?.end();
  gallery = undefined;
  const results = document.getElementById("results");
  const search = document.getElementById("q");
  if (!results) return;
  if (SMALL.matches) results.querySelector(".fold").open = false;
  if (search && document.activeElement !== search) search.value = results.dataset.q;
  const album = document.getElementById("album");
  if (album) album.value = results.dataset.album;
  if (results.querySelector("#grid")) gallery = new Gallery(results);
}

export function startGallery() {
  start();
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id !== "results") return;
    start();
    // For those who listen: what is swapped in is not read out by itself.
    const found = document.querySelector("#results .count, #results .empty h1");
    document.getElementById("heard").textContent = found?.innerText ?? "";
  });
}

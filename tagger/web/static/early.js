// What cannot wait for the rest of the page, which may be a while on a slow machine.

// Before the first paint, so that nobody sees the other theme flash by. Without a choice it is the system's.
(() => {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
// Buttons that are of no use without a script do their work as soon as they are seen.
(() => {
  function switchTheme() {
    const root = document.documentElement;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  }
  document.addEventListener("click", ({ target }) => {
    if (target.closest("#theme")) switchTheme();
    else if (target.closest("#help-button")) document.getElementById("help")?.showModal();
  });
})();
// Who goes back twice may do so before htmx is there to see it.
(() => {
  let isReady = false;
  addEventListener("DOMContentLoaded", () => (isReady = true));
  addEventListener("popstate", () => isReady || location.reload());
})();

// Before the first paint, so that nobody sees the other one flash by. Without a choice it is the system's.
(() => {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
// Who goes back twice may do so before htmx is there to see it.
(() => {
  let isReady = false;
  addEventListener("DOMContentLoaded", () => (isReady = true));
  addEventListener("popstate", () => isReady || location.reload());
})();

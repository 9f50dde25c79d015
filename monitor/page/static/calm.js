// Counts can be hidden; at night they are until asked for. This browser remembers.
"use strict";
{
  const night = () => { const h = new Date().getHours(); return h >= 22 || h < 7; };
  const key = () => (night() ? "counts-at-night" : "counts");
  const hidden = () => (localStorage.getItem(key()) || (night() ? "hidden" : "shown")) === "hidden";
  const show = () => {
    document.documentElement.classList.toggle("counts-hidden", hidden());
    document.querySelectorAll("[data-calm]").forEach((button) => {
      const words = hidden() ? "Show counts" : "Hide counts";
      if (button.textContent !== words) button.textContent = words; // or the observer below would never rest
    });
  };
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-calm]")) return;
    localStorage.setItem(key(), hidden() ? "shown" : "hidden");
    show();
  });
  show();
  new MutationObserver(show).observe(document.documentElement, { childList: true, subtree: true });
}

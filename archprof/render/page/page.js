"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Boxes that are wider than the window scroll by keyboard too.

  function reachable() {
    for (const box of all(".pic, .scroll")) {
      if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  document.querySelector(".maps")?.addEventListener("click", (event) => {
    const box = event.target.closest("[data-r]");
    if (box) location.hash = box.dataset.r;
  });
  addEventListener("resize", reachable);
  reachable();
})();

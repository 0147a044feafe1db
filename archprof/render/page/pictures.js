(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // What a part of a picture is, beside the pointer at once or with the focus.

  const said = new WeakMap(), tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  function take(root) {
    for (const title of all(".pic svg title", root)) {
      said.set(title.parentNode, title.textContent);
      title.remove();
    }
  }

  // Of the grey dots of a scatter, the name of one that is near.

  const NEAR = 60; // tenths of its pixels

  function nameDot(svg, x, y) {
    const path = svg?.querySelector(".behind"), of = svg?.closest(".fig");
    const names = path && document.querySelector(`[data-dots~="${of.id}"]`)?.textContent.split("\n");
    if (!names) return null;
    const here = new DOMPoint(x, y).matrixTransform(path.getScreenCTM().inverse());
    let [left, top, nearest, found] = [0, 0, NEAR, -1];
    [...path.getAttribute("d").matchAll(/m(-?\d+) ?(-?\d+)/g)].forEach(([, a, b], at) => {
      left += +a;
      top += +b;
      const away = Math.hypot(left - here.x, top - here.y);
      if (away < nearest) [nearest, found] = [away, at];
    });
    return names[found];
  }

  function tell(element, x, y) {
    const dot = nameDot(element.closest?.(".chart"), x, y);
    while (element && !said.has(element)) element = element.closest?.("svg") ? element.parentElement : null;
    tip.hidden = !element && !dot;
    if (tip.hidden) return;
    const [first, ...rest] = (said.get(element) || dot).split("\n");
    const head = document.createElement("b");
    head.textContent = first;
    tip.replaceChildren(head, ...rest.flatMap((line) => [document.createElement("br"), line]));
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 18}px`;
  }

  document.addEventListener("pointermove", (event) => tell(event.target, event.clientX, event.clientY));
  document.addEventListener("scroll", () => { tip.hidden = true; }, { capture: true, passive: true });
  document.addEventListener("focusin", ({ target }) => {
    if (!said.has(target) || !target.matches(":focus-visible")) { tip.hidden = true; return; }
    const box = target.getBoundingClientRect();
    tell(target, box.left, Math.min(box.bottom, innerHeight) - 30);
  });

  // Strips: a column that is followed opens what is inside, and the table follows; the same again closes it.

  async function unpack(held) {
    const bytes = Uint8Array.from(atob(held.textContent), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  async function fill() {
    const held = window.DecompressionStream && document.getElementById("insides");
    if (held) {
      const box = document.createElement("template");
      box.innerHTML = await unpack(held);
      for (const inside of [...box.content.children]) document.getElementById(inside.dataset.of).append(inside);
      held.remove();
    }
    for (const strip of all(".strip")) {
      const { id } = strip.closest(".inside, .net");
      all("a", strip).forEach((link, at) => {
        if (document.getElementById(`${id}-${at}`)) link.setAttribute("href", `#${id}-${at}`);
        else delete link.dataset.in;
      });
    }
    all(".net, #pairs > [data-of] > div").forEach(arm);
    if (window.DecompressionStream) all(".contest .switch").forEach((choice) => { choice.hidden = false; });
    dispatchEvent(new Event("resize")); // what is wider than the window now scrolls by keyboard
    if (location.hash.startsWith("#net")) location.replace(location.hash);
    mark();
  }

  function mark() {
    const open = decodeURIComponent(location.hash).slice(1);
    for (const link of all(".strip a[data-in]")) {
      const inside = link.getAttribute("href").slice(1), on = open === inside || open.startsWith(`${inside}-`);
      link.classList.toggle("on", on);
      link.setAttribute("aria-expanded", on);
    }
  }

  function follow(link) {
    const sheet = document.getElementById(`m${link.closest(".net").id.slice(3)}`);
    const search = sheet?.querySelector("input[type=search]");
    if (!search) return;
    search.value = link.dataset.q || "";
    search.dispatchEvent(new Event("input"));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest(".strip a");
    if (!link) return;
    follow(link);
    if (location.hash !== link.getAttribute("href") || !location.hash.startsWith("#net")) return;
    event.preventDefault();
    location.hash = link.closest(".inside, .net").id;
  });

  document.addEventListener("keydown", (event) => {
    const link = event.target.closest?.(".strip a"), inside = event.target.closest?.(".inside");
    if (event.key === "Escape" && inside) {
      location.hash = inside.parentElement.closest(".inside, .net").id;
      document.querySelector(`a[href="#${inside.id}"]`)?.focus();
    }
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!link || !step) return;
    const beside = all("a", link.closest(".strip"));
    beside[beside.indexOf(link) + step]?.focus();
    event.preventDefault();
  });
  addEventListener("hashchange", mark);

  // A picture as it looks here, on its own: as SVG, or twice as large as PNG.

  const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin",
    "stroke-opacity", "paint-order", "opacity", "font-family", "font-size", "font-weight", "text-anchor", "display"];

  function alone(svg) {
    const copy = svg.cloneNode(true), box = svg.getBoundingClientRect();
    const from = [svg, ...all("*", svg)], to = [copy, ...all("*", copy)];
    from.forEach((element, i) => {
      const style = getComputedStyle(element);
      to[i].removeAttribute("class");
      for (const look of LOOKS) to[i].setAttribute(look, style.getPropertyValue(look));
    });
    all("a", copy).forEach((link) => link.removeAttribute("href"));
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", Math.round(box.width));
    copy.setAttribute("height", Math.round(box.height));
    const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    ground.setAttribute("width", "100%");
    ground.setAttribute("height", "100%");
    ground.setAttribute("fill", getComputedStyle(document.documentElement).backgroundColor);
    copy.prepend(ground);
    return new XMLSerializer().serializeToString(copy);
  }

  async function png(text) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * image.width;
    canvas.height = 2 * image.height;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => { canvas.toBlob(done, "image/png"); });
  }

  async function copy(button, svg) {
    const text = alone(svg);
    try {
      if (button.dataset.as === "svg") await navigator.clipboard.writeText(text);
      else await navigator.clipboard.write([new ClipboardItem({ "image/png": png(text) })]);
      button.textContent = "Copied";
    } catch {
      button.textContent = "The browser refused";
    }
    setTimeout(() => { button.textContent = button.dataset.as.toUpperCase(); }, 1500);
  }

  function arm(root) {
    take(root);
    for (const pic of all(".pic", root)) {
      const tools = document.createElement("div");
      tools.className = "copies";
      for (const as of ["svg", "png"]) {
        const button = document.createElement("button");
        button.dataset.as = as;
        button.textContent = as.toUpperCase();
        button.title = `Copy this picture as ${as.toUpperCase()}`;
        button.addEventListener("click", () => copy(button, pic.querySelector("svg")));
        tools.append(button);
      }
      pic.after(tools);
    }
  }

  all("figure.fig, .maps").forEach(arm);
  all(".switch").forEach((choice) => choice.addEventListener("change", () => dispatchEvent(new Event("resize"))));
  fill();
})();

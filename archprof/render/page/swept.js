// A sweep: the points follow the chosen axes and the rows that the filter leaves; their numbers are those of the table.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const held = document.getElementById("settings"), svg = document.querySelector(".swept");
  if (!held || !svg) return;
  const { of, names, most } = JSON.parse(held.textContent), NS = "http://www.w3.org/2000/svg";
  const table = document.querySelector("#runs table"), heads = all("thead th", table);
  const [LEFT, RIGHT, TOP, BOTTOM] = [68, 700, 12, 336];
  const rows = of.map((setting, at) => ({ setting, at, tr: document.getElementById(`runs-${at}`) }));
  const columns = Object.fromEntries(heads.map((th, at) => [th.dataset.k, at]));

  const chosen = (axis) => document.querySelector(`input[name=axis-${axis}]:checked`).value;
  const cell = (row, key) => row.tr.cells[columns[key]];

  function number(row, key) {
    const text = cell(row, key).textContent;
    return text === "–" ? null : Number(cell(row, key).dataset.v ?? 0);
  }

  // The same places as those that are drawn without a script.

  const axisOf = (axis, key, other) => svg.querySelector(`[data-${axis}="${key}"][data-with~="${other}"]`);

  function placer({ dataset: { low, high, log } }, start, end) {
    const on = log === undefined ? Number : Math.log10, from = on(low), to = on(high);
    return (value) => to > from ? start + (on(value) - from) / (to - from) * (end - start) : start;
  }

  // Who is beaten by nobody: less is better, and a lower bound is on no front.

  function front(points) {
    const fair = points.filter(({ row }) => ![chosen("x"), chosen("y")].some((key) => cell(row, key).textContent.startsWith("≥")));
    fair.sort((one, other) => one.x - other.x || one.y - other.y || one.row.at - other.row.at);
    const kept = [];
    for (const point of fair) {
      const last = kept.at(-1);
      if (!last || point.y < last.y || point.x === last.x && point.y === last.y) kept.push(point);
    }
    return kept;
  }

  let shown = [];

  function draw() {
    const x = chosen("x"), y = chosen("y");
    const axes = [axisOf("x", x, y), axisOf("y", y, x)];
    for (const one of all("g[data-with]", svg)) one.toggleAttribute("hidden", !axes.includes(one));
    const across = placer(axes[0], LEFT, RIGHT), upwards = placer(axes[1], BOTTOM, TOP);
    shown = [];
    for (const row of rows) {
      if (row.tr.hidden) continue;
      const point = { row, x: number(row, x), y: number(row, y) };
      if (point.x === null || point.y === null) continue;
      shown.push({ ...point, at: [across(point.x), upwards(point.y)] });
    }
    const write = ({ at }) => at.map((pixel) => Math.round(pixel * 10) / 10).join(" ");
    names.forEach((name, setting) => {
      const points = shown.filter(({ row }) => row.setting === setting), best = front(points);
      svg.querySelector(`[data-p="${setting}"]`).setAttribute("d", points.map((point) => `M${write(point)}h0`).join(""));
      svg.querySelector(`[data-f="${setting}"]`).setAttribute("d", best.length ? `M${best.map(write).join(" ")}` : "");
      list(setting, best);
    });
    const said = `${label("y", y)} against ${label("x", x)}, a point for each pass; lines join the Pareto fronts.`;
    svg.setAttribute("aria-label", said);
    document.querySelector("#pareto figcaption").textContent = said;
  }

  const label = (axis, key) => document.querySelector(`label[for="${axis}-${key}"]`).textContent;

  function list(setting, best) {
    const line = document.querySelector(`[data-front="${setting}"]`);
    line.hidden = !best.length;
    const links = best.slice(0, most).flatMap(({ row }) => {
      const link = document.createElement("a");
      link.href = `#${row.tr.id}`;
      link.textContent = name(row);
      return [link, " "];
    });
    line.lastElementChild.replaceChildren(...links, best.length > most ? `and ${best.length - most} more` : "");
  }

  const name = (row) => row.tr.cells[0].textContent;

  // What the pointer is on, and its row at a click.

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  function nearest(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const far = (point) => Math.hypot(point.at[0] - at.x, point.at[1] - at.y);
    const found = shown.reduce((best, point) => (!best || far(point) < far(best) ? point : best), null);
    return found && far(found) <= 12 ? found : null;
  }

  svg.addEventListener("pointermove", (event) => {
    const found = nearest(event);
    tip.hidden = !found;
    svg.style.cursor = found ? "pointer" : "";
    if (!found) return;
    const head = document.createElement("b");
    head.textContent = name(found.row);
    const lines = [names[found.row.setting], ...["y", "x"].map((axis) => `${label(axis, chosen(axis))}: ${written(found.row, chosen(axis))}`)];
    tip.replaceChildren(head, ...lines.filter(Boolean).flatMap((line) => [document.createElement("br"), line]));
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  svg.addEventListener("click", (event) => {
    const found = nearest(event);
    if (found) location.hash = found.row.tr.id;
  });

  function written(row, key) {
    const unit = heads[columns[key]].querySelector("small");
    return `${cell(row, key).textContent}${unit ? ` ${unit.textContent}` : ""}`;
  }

  all(".sweep .switch").forEach((choice) => {
    choice.hidden = false;
    choice.addEventListener("change", draw);
  });
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }).observe(table.tBodies[0], { subtree: true, attributeFilter: ["hidden"] });
  draw();
})();

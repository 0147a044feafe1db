"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables: one `view` a table says what is shown; `show` makes the rows follow it.

  function arm(sheet) {
    const table = sheet.querySelector("table");
    const rows = all("tbody tr", table).map((tr, at) => ({
      tr, at,
      depth: +(tr.dataset.d || 0),
      sub: tr.classList.contains("sub"),
      short: tr.cells[0].textContent,
      full: tr.cells[0].dataset.n,
      text: "",
    }));
    const view = { column: -1, way: "", query: "", folded: new Set() };
    const self = { sheet, table, rows, view, body: table.tBodies[0], order: rows, said: sheet.querySelector("output") };
    const above = [];
    rows.forEach((row, i) => {
      const parent = above[row.depth - 1];
      row.full ??= parent ? parent.full + (row.short.startsWith("(") ? " " : ".") + row.short : row.short;
      above.splice(row.depth, Infinity, row);
      const words = [...row.tr.cells].filter((cell) => cell.tagName === "TH" || cell.classList.contains("t")).map((cell) => cell.textContent);
      row.text = [row.full, ...words].join(" ").toLowerCase();
      row.label = document.createElement("span");
      row.label.textContent = row.short;
      row.tr.cells[0].replaceChildren(row.label);
      if (rows[i + 1] && rows[i + 1].depth > row.depth) row.tr.cells[0].prepend(turner(self, row));
    });
    all("thead th", table).forEach((th, column) => sorter(self, th, column));
    const search = sheet.querySelector("input");
    search.addEventListener("input", () => { view.query = search.value.trim().toLowerCase(); show(self); });
    const does = {
      fold: () => { rows.filter((row) => row.turn).forEach((row) => view.folded.add(row)); show(self); },
      unfold: () => { view.folded.clear(); show(self); },
      reset: () => { view.column = -1; view.query = search.value = ""; show(self); },
      csv: () => copy(self, csv(self)),
      md: () => copy(self, markdown(self)),
    };
    all("[data-do]", sheet).forEach((button) => button.addEventListener("click", does[button.dataset.do]));
    sheet.querySelector(".tools").hidden = false;
    return self;
  }

  function turner(self, row) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "turn";
    button.setAttribute("aria-label", `Parts of ${row.full}`);
    button.setAttribute("aria-expanded", "true");
    button.addEventListener("click", () => {
      if (!self.view.folded.delete(row)) self.view.folded.add(row);
      show(self);
    });
    row.turn = button;
    return button;
  }

  function sorter(self, th, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "way";
    button.append(...th.childNodes);
    th.append(button);
    const ways = th.classList.contains("n") ? ["descending", "ascending"] : ["ascending", "descending"];
    button.addEventListener("click", () => {
      const next = self.view.column === column ? ways.indexOf(self.view.way) + 1 : 0;
      self.view.column = ways[next] ? column : -1;
      self.view.way = ways[next] || "";
      show(self);
    });
  }

  const raw = (row, column) => {
    if (column === 0) return row.full;
    const cell = row.tr.cells[column];
    if (cell.textContent === "–") return null;
    return cell.classList.contains("t") ? cell.textContent : Number(cell.dataset.v ?? 0);
  };

  function sorted(self) {
    const { column, way } = self.view;
    if (column < 0) return self.rows;
    const sign = way === "ascending" ? 1 : -1;
    const keyed = self.rows.map((row) => [raw(row, column), row]);
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    keyed.sort(([a, x], [b, y]) => (a === null) - (b === null) || sign * (a === null ? 0 : order(a, b)) || x.at - y.at);
    return keyed.map(([, row]) => row);
  }

  function show(self) {
    const { view, table, rows, body } = self;
    const order = sorted(self), flat = view.column >= 0 || view.query !== "";
    if (order.some((row, i) => row !== self.order[i])) body.append(...order.map((row) => row.tr));
    self.order = order;
    let under = Infinity;
    for (const row of rows) {
      if (row.depth <= under) under = Infinity;
      const away = view.column >= 0 && row.sub || view.query && !row.text.includes(view.query);
      row.tr.hidden = flat ? Boolean(away) : under < Infinity;
      if (under === Infinity && view.folded.has(row)) under = row.depth;
      row.label.textContent = flat ? row.full : row.short;
      if (row.turn) row.turn.setAttribute("aria-expanded", String(!view.folded.has(row)));
    }
    table.classList.toggle("flat", flat);
    all("thead th", table).forEach((th, i) => {
      if (i === view.column) th.setAttribute("aria-sort", view.way);
      else th.removeAttribute("aria-sort");
    });
    const left = rows.filter((row) => !row.tr.hidden).length;
    self.said.textContent = left < rows.length ? `${left} of ${rows.length} rows` : "";
  }

  // Copying what is shown.

  const heads = (self) => all("thead th", self.table);

  function csv(self) {
    const field = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const lines = self.order.filter((row) => !row.tr.hidden && !row.sub);
    const cells = lines.map((row) => heads(self).map((_, i) => field(String(raw(row, i) ?? ""))).join(","));
    return [heads(self).map((th) => th.dataset.k).join(","), ...cells].join("\n") + "\n";
  }

  function markdown(self) {
    const line = (cells) => `| ${cells.map((text) => text.trim().replaceAll("|", "\\|")).join(" | ")} |`;
    const named = heads(self).map((th) => {
      const unit = th.querySelector("small");
      return unit ? `${th.textContent.replace(unit.textContent, "").trim()} [${unit.textContent}]` : th.textContent;
    });
    const rule = heads(self).map((th) => (th.classList.contains("n") ? "--:" : "---"));
    const rows = self.order.filter((row) => !row.tr.hidden);
    const body = rows.map((row) => line([row.full, ...[...row.tr.cells].slice(1).map((cell) => cell.textContent)]));
    return [line(named), line(rule), ...body].join("\n") + "\n";
  }

  async function copy(self, text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const held = document.createElement("textarea");
      held.value = text;
      self.sheet.append(held);
      held.select();
      document.execCommand("copy");
      held.remove();
    }
    self.said.textContent = "Copied.";
  }

  // Links to rows: a row that is folded away or filtered out is brought back.

  function reveal(sheets) {
    const tr = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const self = tr && sheets.find((one) => one.body === tr.parentNode);
    if (!self) return;
    self.view.column = -1;
    self.view.query = self.sheet.querySelector("input").value = "";
    let above = self.rows.findIndex((row) => row.tr === tr), depth = Infinity;
    for (; above >= 0; above--) {
      const row = self.rows[above];
      if (row.depth < depth) { self.view.folded.delete(row); depth = row.depth; }
    }
    show(self);
    tr.scrollIntoView({ block: "center" });
  }

  // Boxes that are wider than the window scroll by keyboard too.

  function reachable() {
    for (const box of all(".pic, .scroll")) {
      if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  const sheets = all(".sheet").map(arm);
  document.querySelector(".maps")?.addEventListener("click", (event) => {
    const box = event.target.closest("[data-r]");
    if (box) location.hash = box.dataset.r;
  });
  addEventListener("hashchange", () => reveal(sheets));
  addEventListener("resize", reachable);
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((box) => { box.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((box) => { box.open = false; }));
  reveal(sheets);
  reachable();
})();

"use strict";
// Tables: one `view` a table says what is shown; `show` makes the rows follow it.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  function arm(sheet) {
    const table = sheet.querySelector("table"), whole = "n" in table.dataset; // the rows print their whole names
    for (const cell of all("tbody td:empty", table)) cell.textContent = "–"; // as the style writes it without a script
    const heads = all("thead th", table), texts = heads.map((th) => th.classList.contains("t"));
    const rows = all("tbody tr", table).map((tr, at) => ({
      tr, at, texts,
      depth: +(tr.dataset.d || 0),
      sub: tr.classList.contains("sub"),
      made: tr.classList.contains("made"), // a sum that closes rows away, and no row of its own
      small: tr.hasAttribute("data-s"),
      short: tr.cells[0].textContent,
      full: tr.cells[0].dataset.n || (whole || tr.cells[0].dataset.n === "" ? tr.cells[0].textContent : undefined),
      parts: [],
    }));
    const view = { column: -1, way: "", query: "", folded: new Set() };
    const self = { sheet, table, rows, view, body: table.tBodies[0], order: rows, heads, said: sheet.querySelector("output") };
    const above = [];
    for (const row of rows) {
      row.parent = above[row.depth - 1];
      row.parent?.parts.push(row);
      row.full ??= row.parent ? row.parent.full + (row.short.startsWith("(") ? " " : ".") + row.short : row.short;
      row.path = row.full.toLowerCase();
      above.splice(row.depth, Infinity, row);
      row.label = row.tr.cells[0].firstChild;
    }
    for (const row of rows) {
      row.behind = row.made && !row.parts.length ? siblings(self, row).filter((one) => one.small) : row.parts;
      if (!row.behind.length) continue;
      row.turn = turner(self, row);
      row.tr.cells[0].prepend(row.turn);
      const closed = row.behind.every((one) => one.tr.hidden);
      if (closed) view.folded.add(row);
      row.turn.setAttribute("aria-expanded", String(!closed));
    }
    self.initial = [...view.folded];
    choosable(self);
    self.heads.forEach((th, column) => sorter(self, th, column));
    const search = sheet.querySelector("input");
    search.addEventListener("input", () => {
      view.query = search.value.trim().toLowerCase();
      view.only = null;
      sheet.querySelector(".scroll").scrollTop = 0;
      show(self);
    });
    const does = {
      fold: () => { view.folded = new Set(rows.filter((row) => row.turn)); show(self); },
      unfold: () => { view.folded.clear(); show(self); },
      reset: () => { view.column = -1; view.query = search.value = ""; view.only = null; view.folded = new Set(self.initial); show(self); },
      csv: () => copy(self, csv(self)),
      md: () => copy(self, markdown(self)),
    };
    all("[data-do]", sheet).forEach((button) => button.addEventListener("click", does[button.dataset.do]));
    sheet.querySelector(".tools").hidden = false;
    return self;
  }

  const siblings = (self, row) => (row.parent ? row.parent.parts : self.rows.filter((one) => !one.parent));

  function turner(self, row) {
    const button = document.createElement("button");
    button.className = "turn";
    button.setAttribute("aria-label", `Parts of ${row.full}`);
    button.addEventListener("click", () => {
      if (!self.view.folded.delete(row)) self.view.folded.add(row);
      show(self);
    });
    return button;
  }

  function sorter(self, th, column) {
    const button = document.createElement("button");
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
    return row.texts[column] ? cell.textContent : Number(cell.dataset.v ?? 0);
  };

  // What is asked for: parts of paths, `kind:Conv2d`, `>1%` of the first total; a row has to fit all of it.

  function asked(self) {
    if (self.view.only) return (row) => !row.made && self.view.only.has(row.tr.id);
    const tests = self.view.query.split(/\s+/).filter(Boolean).map((word) => {
      const share = /^([<>])=?(\d*\.?\d+)%$/.exec(word);
      if (share) return (row) => !row.sub && (share[1] === ">" ? 1 : -1) * (shareOf(self, row) * 100 - share[2]) >= 0;
      const at = word.indexOf(":"), column = self.heads.findIndex((th) => th.dataset.k === word.slice(0, at));
      if (column > 0) return (row) => row.tr.cells[column].textContent.toLowerCase().includes(word.slice(at + 1));
      return (row) => row.path.includes(word);
    });
    return (row) => !row.made && tests.every((test) => test(row));
  }

  function shareOf(self, row) {
    const column = self.heads.findIndex((th) => th.dataset.sum);
    return column < 0 ? 0 : (raw(row, column) ?? 0) / self.heads[column].dataset.sum;
  }

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
    const order = sorted(self), flat = view.column >= 0 || view.query !== "", fits = asked(self);
    if (order.some((row, i) => row !== self.order[i])) body.append(...order.map((row) => row.tr));
    self.order = order;
    const closed = new Set([...view.folded].flatMap((row) => row.behind));
    for (const row of rows) {
      const away = closed.has(row) || Boolean(row.parent?.away);
      row.away = away; // a parent stands before its parts
      const hidden = flat ? !fits(row) || view.column >= 0 && row.sub : away, name = flat ? row.full : row.short;
      if (row.tr.hidden !== hidden) row.tr.hidden = hidden;
      if (row.label.data !== name) row.label.data = name;
      if (row.turn) row.turn.setAttribute("aria-expanded", String(!view.folded.has(row)));
    }
    table.classList.toggle("flat", flat);
    self.heads.forEach((th, i) => {
      if (i === view.column) th.setAttribute("aria-sort", view.way);
      else th.removeAttribute("aria-sort");
    });
    const real = rows.filter((row) => !row.made), left = real.filter((row) => !row.tr.hidden);
    self.said.textContent = !flat || left.length === real.length ? ""
      : `${left.length} of ${real.length} rows${view.query ? "" : ": what each did itself"}`;
    sum(self, view.query ? left : []);
  }

  // Of several models, the ratios are to the first, or to the one that is chosen.

  const RATIO = "_ratio";

  function choosable(self) {
    const { rows, heads, table } = self, first = rows[0];
    // What the first has and has no ratio of, is not comparable.
    const ratios = heads.map((th, column) => ({ th, column, of: heads.findIndex((one) => `${one.dataset.k}${RATIO}` === th.dataset.k) }))
      .filter(({ of, column }) => of > 0 && !(raw(first, of) && raw(first, column) === null));
    if (table.parentNode.parentNode.id !== "summary" || !ratios.length) return;
    const letter = (row) => row.full.slice(0, 1), name = (row) => row.full.slice(2);
    const notes = all(".note li", self.sheet);
    for (const row of rows) {
      row.choose = document.createElement("button");
      row.choose.className = "ref";
      row.choose.ariaLabel = `Ratios to ${row.full}`;
      row.choose.setAttribute("aria-pressed", row === first);
      row.tr.cells[0].prepend(row.choose);
      row.tr.cells[0].addEventListener("click", () => choose(row));
    }
    let now = first;
    // Pixels and tokens are no ratio of each other: what the first is not set against is of the other kind.
    const apart = new Set(rows.filter((row) => ratios.some(({ column, of }) => raw(row, of) && raw(first, of) && raw(row, column) === null)));
    function choose(row) {
      for (const { th, column, of } of ratios) {
        const base = raw(row, of);
        for (const one of rows) {
          const alike = heads[of].dataset.k === "params" || apart.has(one) === apart.has(row);
          divide(one.tr.cells[column], alike ? raw(one, of) : null, base);
        }
        named(th, `x ${letter(row)}`);
        th.title = th.title.replace(/ratio to .$/, `ratio to ${letter(row)}`);
      }
      for (const li of notes) li.textContent = li.textContent.replace(`ratio to ${letter(now)}`, `ratio to ${letter(row)}`);
      const others = rows.filter((one) => one !== row).map(name), last = others.pop();
      table.caption.textContent = `${name(row)} against ${others.length ? `${others.join(", ")} and ` : ""}${last}`;
      now = row;
      for (const one of rows) one.choose.setAttribute("aria-pressed", one === row);
      if (self.view.column >= 0) show(self);
      const unlike = rows.filter((one) => apart.has(one) !== apart.has(row)).map(letter);
      for (const other of sheets) refer(other, letter(row), rows.map(letter), unlike);
    }
  }

  function named(th, text) {
    const node = [...(th.querySelector(".way") || th).childNodes].find((one) => one.nodeType === 3);
    node.data = node.data.endsWith(" ") ? `${text} ` : text;
  }

  // The ratios and signs of stages and layers follow.

  function refer(self, to, letters, unlike) {
    const { heads, rows, table } = self, others = letters.filter((one) => one !== to);
    const at = (key, one) => heads.findIndex((th) => th.dataset.k === `${key}_${one.toLowerCase()}`);
    const metrics = heads.map((th) => /^(.*)_ratio_b$/.exec(th.dataset.k)?.[1]).filter(Boolean);
    for (const key of metrics) {
      const places = letters.slice(1).map((one) => at(`${key}_ratio`, one)), base = at(key, to);
      self.without ??= new Set(rows.filter((row) => places.every((column) => raw(row, column) === null)
        && letters.every((one) => raw(row, at(key, one)))));
      others.forEach((one, i) => {
        const th = heads[places[i]], of = at(key, one);
        const none = key !== "params" && unlike.includes(one);
        for (const row of rows) divide(row.tr.cells[places[i]], none || self.without.has(row) ? null : raw(row, of), raw(row, base));
        named(th, `${one}/${to}`);
        th.title = th.title.replace(/ of .* to .*$/, `${heads[of].title.slice(heads[of].title.indexOf(" of "))} to ${to}`);
        const foot = table.tFoot?.rows[table.tFoot.rows.length - 1].cells[places[i]];
        if (foot) divide(foot, none ? null : Number(heads[of].dataset.sum ?? 0), Number(heads[base].dataset.sum ?? 0));
      });
    }
    if (!metrics.length) return;
    for (const row of rows) {
      const held = letters.map((one) => raw(row, at(metrics[0], one)) !== null);
      const sign = held[letters.indexOf(to)] ? (held.every(Boolean) ? "" : "- ") : "+ ";
      for (const key of ["full", "short"]) row[key] = sign + row[key].replace(/^[+-] /, "");
      row.label.data = self.table.classList.contains("flat") ? row.full : row.short;
      row.path = row.full.toLowerCase();
    }
    const signs = new Set(rows.map((row) => row.full[0]));
    const meaning = { "-": `- is in ${to} and missing in another model`, "+": `+ is not in ${to}` };
    const note = all(".note li", self.sheet).find((li) => /^[+-] is /.test(li.textContent));
    if (note) note.textContent = `${Object.keys(meaning).filter((sign) => signs.has(sign)).map((sign) => meaning[sign]).join("; ")}.`;
    if (self.view.column >= 0) show(self);
  }

  function divide(cell, value, base) {
    if (value === null || !base) {
      cell.textContent = "–";
      delete cell.dataset.v;
      return;
    }
    const ratio = value / base, text = ratio.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    cell.textContent = ratio && !Number(text.replaceAll(",", "")) ? "<0.01" : ratio ? text : "0";
    cell.dataset.v = ratio;
  }

  // The sum of what a filter leaves; a part of something that is there too is in that already.

  function sum(self, left) {
    const foot = self.table.tFoot;
    foot?.querySelector(".left")?.remove();
    if (!foot || !left.length) return;
    const inside = (row) => row.parent && (!row.parent.tr.hidden && !row.parent.made || inside(row.parent));
    const counted = left.filter((row) => !inside(row));
    const tr = document.createElement("tr");
    tr.className = "left";
    self.heads.forEach((th, column) => {
      const td = document.createElement("td");
      if (column === 0) td.textContent = `Sum of ${left.length} row${left.length > 1 ? "s" : ""}`;
      else if (th.dataset.sum) td.textContent = written(th, counted, column);
      tr.append(td);
    });
    foot.prepend(tr);
  }

  function written(th, rows, column) {
    const total = rows.reduce((sum, row) => sum + (raw(row, column) ?? 0), 0) / (th.dataset.f ?? 1);
    const digits = +(th.dataset.g ?? 0), least = rows.some((row) => row.tr.cells[column].textContent.startsWith("≥"));
    const text = total.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    const shown = total && !Number(text.replaceAll(",", "")) ? `<${(10 ** -digits).toFixed(digits)}` : total ? text : "0";
    return least ? `≥ ${shown}` : shown;
  }

  // Copying what is shown.

  function csv(self) {
    const field = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const flat = self.table.classList.contains("flat");
    const lines = self.order.filter((row) => !row.sub && !row.made && !(flat && row.tr.hidden));
    const cells = lines.map((row) => self.heads.map((_, i) => field(String(raw(row, i) ?? ""))).join(","));
    return [self.heads.map((th) => th.dataset.k).join(","), ...cells].join("\n") + "\n";
  }

  function markdown(self) {
    const line = (cells) => `| ${cells.map((text) => text.trim().replaceAll("|", "\\|")).join(" | ")} |`;
    const named = self.heads.map((th) => {
      const unit = th.querySelector("small");
      return unit ? `${th.textContent.replace(unit.textContent, "").trim()} [${unit.textContent}]` : th.textContent;
    });
    const rule = self.heads.map((th) => (th.classList.contains("n") ? "--:" : "---"));
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

  function reveal() {
    const tr = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const self = tr && sheets.find((one) => one.body === tr.parentNode);
    if (!self) return;
    self.view.column = -1;
    self.view.query = self.sheet.querySelector("input").value = "";
    self.view.only = null;
    let row = self.rows.find((one) => one.tr === tr);
    for (; row; row = row.parent) {
      for (const above of self.rows) if (above.turn && above.behind.includes(row)) self.view.folded.delete(above);
    }
    show(self);
    tr.scrollIntoView({ block: "center" });
  }

  // "and 7 more" leaves the rows that a finding speaks of.

  function gather(event) {
    const link = event.target.closest?.("[data-rows]"), ids = new Set(link?.dataset.rows.split(","));
    const self = link && sheets.find((one) => one.rows.some((row) => ids.has(row.tr.id)));
    if (!self) return;
    event.preventDefault();
    self.view.column = -1;
    self.view.query = "rows";
    self.view.only = ids;
    show(self);
    const search = self.sheet.querySelector("input");
    search.value = "";
    search.focus();
  }

  // On paper a head with a button in it is not repeated on the next page, so the buttons step aside.

  const unwrapped = [];

  function unwrap() {
    for (const button of all("thead .way")) {
      const th = button.parentNode;
      unwrapped.push([th, button]);
      th.replaceChildren(...button.childNodes);
    }
  }

  function wrap() {
    for (const [th, button] of unwrapped.splice(0)) {
      button.append(...th.childNodes);
      th.append(button);
    }
  }

  // A review prints what is open; who wants every row and all numbers asks for it.

  function printAll() {
    const before = sheets.map((self) => new Set(self.view.folded));
    sheets.forEach((self) => { self.view.folded.clear(); show(self); });
    document.documentElement.classList.add("whole");
    print();
    document.documentElement.classList.remove("whole");
    sheets.forEach((self, i) => { self.view.folded = before[i]; show(self); });
  }

  const sheets = all(".sheet").map(arm);
  const button = document.querySelector("[data-print]");
  button.hidden = false;
  button.addEventListener("click", printAll);
  addEventListener("hashchange", reveal);
  document.addEventListener("click", gather);
  addEventListener("beforeprint", unwrap);
  addEventListener("afterprint", wrap);
  reveal();
})();

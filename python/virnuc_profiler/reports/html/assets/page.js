"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Theme. The reader's choice is kept; without one the system decides.
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const printing = matchMedia("print");
  const charts = new Map(); // element -> Bokeh document
  const storage = {
    get: () => { try { return localStorage.getItem("virnuc-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("virnuc-theme", value); } catch { /* a page without storage */ } },
  };
  const isDark = () => (root.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
  const items = (value) => (value instanceof Map ? [...value] : Object.entries(value));
  function paint(doc) {
    const style = getComputedStyle(root);
    for (const model of doc.all_models) {
      for (const tag of model.tags ?? []) {
        const theme = tag instanceof Map ? tag.get("theme") : tag?.theme;
        if (theme === undefined) continue;
        model.setv(Object.fromEntries(items(theme).map(([name, color]) => [name, style.getPropertyValue(`--${color}`).trim()])));
      }
    }
  }
  function showTheme() {
    byId("theme-button").textContent = isDark() ? "Light" : "Dark";
    charts.forEach(paint);
  }
  function switchTheme() {
    root.dataset.theme = isDark() ? "light" : "dark";
    storage.set(root.dataset.theme);
    showTheme();
  }
  if (["dark", "light"].includes(storage.get())) root.dataset.theme = storage.get();
  prefersDark.addEventListener("change", showTheme);
  printing.addEventListener("change", showTheme);
  byId("theme-button").addEventListener("click", switchTheme);
  showTheme();

  // Charts are drawn when they come near the view, and the rest when the browser has nothing else to do.
  // On a touch screen, a finger scrolls the page; a chart's own panning would hold it.
  const touched = matchMedia("(hover: none) and (pointer: coarse)");
  function letFingersScroll(doc) {
    for (const model of doc.all_models) if (model.active === true && /(Pan|Zoom)Tool$/.test(model.type)) model.active = false;
  }
  async function draw(target) {
    if (charts.has(target)) return;
    const item = JSON.parse(byId(target.dataset.figure).textContent);
    const doc = Bokeh.require("document").Document.from_json(item.doc);
    charts.set(target, doc);
    paint(doc);
    await Bokeh.embed.add_document_standalone(doc, target);
    if (touched.matches) letFingersScroll(doc);
    target.dataset.drawn = "";
  }
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: "600px" });
  all("[data-figure]").forEach((target) => near.observe(target));
  addEventListener("beforeprint", () => {
    all("[data-figure]").forEach(draw);
    all("details").forEach((details) => { details.open = true; });
  });

  // Keys of a chart: pan, zoom, and show all of it.
  const plotsOf = (doc) => [...doc.all_models].filter((model) => model.x_range && model.y_range && model.renderers);
  const numeric = (range) => typeof range.start === "number" && typeof range.end === "number" && !range.factors;
  function move(doc, axis, shift, scale) {
    const ranges = new Set(plotsOf(doc).map((plot) => plot[`${axis}_range`]).filter(numeric));
    for (const range of ranges) {
      const middle = (range.start + range.end) / 2 + shift * (range.end - range.start);
      const half = (range.end - range.start) / 2 * scale;
      range.setv({ start: middle - half, end: middle + half });
    }
  }
  function reset(target) {
    for (const plot of plotsOf(charts.get(target))) Bokeh.index.find_one?.(plot)?.reset?.();
  }
  const chartKeys = {
    ArrowLeft: (doc) => move(doc, "x", -0.1, 1), ArrowRight: (doc) => move(doc, "x", 0.1, 1),
    ArrowUp: (doc) => move(doc, "y", 0.1, 1), ArrowDown: (doc) => move(doc, "y", -0.1, 1),
    "+": (doc) => move(doc, "x", 0, 0.7), "=": (doc) => move(doc, "x", 0, 0.7), "-": (doc) => move(doc, "x", 0, 1 / 0.7),
  };
  all("[data-figure]").forEach((target) => target.addEventListener("keydown", (event) => {
    const doc = charts.get(target);
    if (!doc || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "0") reset(target);
    else if (chartKeys[event.key]) chartKeys[event.key](doc);
    else return;
    event.preventDefault();
  }));

  // Sortable tables.
  const collator = new Intl.Collator("en", { numeric: true });
  function compare(a, b, direction) {
    if (a === null || b === null) return (a === null) - (b === null);
    const numbers = [Number(a), Number(b)];
    return direction * (numbers.some(Number.isNaN) ? collator.compare(a, b) : numbers[0] - numbers[1]);
  }
  function sort(table, button) {
    const head = button.closest("th");
    const column = Number(button.dataset.column);
    const other = { ascending: "descending", descending: "ascending" };
    const order = other[head.getAttribute("aria-sort")] ?? head.dataset.first;
    all("th[aria-sort]", table).forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [row.cells[column].dataset.key ?? null, row]);
    rows.sort((one, two) => compare(one[0], two[0], order === "ascending" ? 1 : -1));
    body.append(...rows.map(([, row]) => row));
    byId("live").textContent = `Sorted by ${button.textContent}, ${order}`;
  }
  all("table[data-sortable]").forEach((table) =>
    all("thead button", table).forEach((button) => button.addEventListener("click", () => sort(table, button))));

  // Arrow keys in tables and heat maps; the details of a cell on hover and focus.
  const tip = byId("tip");
  function showTip(cell) {
    tip.textContent = cell.dataset.tip;
    tip.hidden = false;
    const at = cell.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const top = at.bottom + 6 + size.height > innerHeight ? at.top - size.height - 6 : at.bottom + 6;
    tip.style.left = `${Math.max(6, Math.min(at.left, innerWidth - size.width - 6))}px`;
    tip.style.top = `${Math.max(6, top)}px`;
  }
  const hideTip = () => { tip.hidden = true; };
  all("[data-tip]").forEach((cell) => {
    cell.addEventListener("pointerenter", () => showTip(cell));
    cell.addEventListener("pointerleave", hideTip);
    cell.addEventListener("focus", () => showTip(cell));
    cell.addEventListener("blur", hideTip);
  });
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  all("table[data-grid]").forEach((table) => table.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    const next = table.rows[cell.parentNode.rowIndex + step[0]]?.cells[cell.cellIndex + step[1]];
    if (next?.tabIndex === undefined || next.tagName !== "TD") return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    event.preventDefault();
  }));

  // The rest: copy, help, keys of the page, and the section in view.
  async function copy(button) {
    const source = byId(button.dataset.copy);
    try { await navigator.clipboard.writeText(source.textContent); } catch {
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    if (event.key === "t") switchTheme();
    else if (event.key === "?" && !byId("help").open) byId("help").showModal();
    else if (event.key === "Escape") hideTip();
  });
  const links = new Map(all(".contents a").map((link) => [byId(link.hash.slice(1)), link]));
  const seen = new Set();
  const inView = new IntersectionObserver((entries) => {
    entries.forEach((entry) => (entry.isIntersecting ? seen.add(entry.target) : seen.delete(entry.target)));
    const first = [...links.keys()].find((section) => seen.has(section));
    links.forEach((link, section) => (section === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  }, { rootMargin: "-56px 0px -55% 0px" });
  links.forEach((_, section) => inView.observe(section));
})();

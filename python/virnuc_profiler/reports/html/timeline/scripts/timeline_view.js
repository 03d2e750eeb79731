"use strict";
// The view of a run: any part of it from all to one batch, by pointer, keys and buttons, on all charts at once.
(() => {
  const root = document.getElementById("timeline-tools");
  if (!root) return;  // a run with nothing to show
  const byId = (id) => document.getElementById(id);
  const about = JSON.parse(byId("timeline-about").textContent);
  const figure = byId(about.place).closest("section").querySelector("figure.chart");
  const target = figure.querySelector("[data-figure]");
  const status = byId("timeline-status"), details = byId("timeline-batch"), tip = byId("tip");
  const state = { run: null, doc: null, range: null, selected: -1, slow: -1, stats: { redraws: [] } };
  window.virnucTimeline = state;

  // Range and view. Times are ns from the start of the run; the charts count in seconds.
  const clamp = (from, to) => {
    const length = Math.min(Math.max(to - from, about.least), about.elapsed);
    const start = Math.min(Math.max(from, 0), about.elapsed - length);
    return [start, start + length];
  };
  const shown = () => [state.range.start * 1e9, state.range.end * 1e9];
  function show(from, to) {
    const [start, end] = clamp(from, to);
    state.range.setv({ start: start / 1e9, end: end / 1e9 });
  }
  const whole = () => show(0, about.elapsed);
  const zoom = (factor, at) => {
    const [from, to] = shown(), middle = at ?? (from + to) / 2;
    show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  };
  const pan = (part) => { const [from, to] = shown(); show(from + part * (to - from), to + part * (to - from)); };

  function currentView() {
    const [from, to] = shown();
    const inner = state.doc.get_model_by_name(about.charts[0]).inner_width || 800;
    const parts = Math.max(50, Math.min(Math.round(inner), 2400));
    return { from, to, pixel: (to - from) / parts, edges: virnucReduce.edges(from, to, parts), elapsed: about.elapsed };
  }

  // The charts get what they draw from here; each of their sources is found by its name.
  // One that was empty and stays empty is left alone.
  const sources = new Map();
  function feed(name, data) {
    if (!sources.has(name)) sources.set(name, state.doc.get_model_by_name(name));
    const source = sources.get(name), size = (columns) => (columns.left ?? columns.x).length;
    if (source && (size(data) > 0 || size(source.data) > 0)) source.data = data;
  }
  function redraw() {
    const { run } = state;
    if (!run) return describe();
    const started = performance.now(), view = currentView();
    const bars = new Map(about.colors.map((color) => [color, virnucDrawing.quads()]));
    about.lanes.forEach(({ place, color }, number) => virnucDrawing.lane(run.lanes[number], view, place, bars.get(color)));
    if (about.idle) virnucDrawing.idle(run.gaps, view, about.idle, run.rest, about.cause_colors.map((color) => bars.get(color)));
    bars.forEach((quads, color) => feed(`bars-${color}`, quads.data));
    if (about.flight) {
      const [batches, names] = virnucDrawing.flight(run, view, about.flight);
      feed("flight", batches); feed("flight-names", names);
      const [band, line] = virnucDrawing.pace(run, view);
      feed("pace-band", band); feed("pace-mean", line);
    }
    run.curves.forEach((curve, number) => {
      if (state.stats.redraws.length && curve.start.length <= virnucDrawing.MOST) return;  // all of it is there
      const [band, line] = virnucDrawing.curve(curve, view);
      feed(`curve-${number}-band`, band); feed(`curve-${number}-line`, line);
    });
    state.stats.redraws.push(performance.now() - started);
    describe(view);
  }
  // The first change of a frame is answered at once, before the charts paint it; further ones wait for the next frame.
  let waiting = false, missed = false;
  function schedule() {
    if (waiting) { missed = true; return; }
    waiting = true;
    redraw();
    requestAnimationFrame(() => { waiting = false; if (missed) { missed = false; schedule(); } });
  }

  function describe(view = currentView()) {
    const { run } = state, [from, to] = shown(), length = virnucTelling.time(to - from);
    const place = `${length} from ${virnucTelling.moment(Math.max(from, 0))}`;
    if (state.unpackable === false) return;
    if (!run) { status.textContent = `${place}.`; return; }
    const first = virnucReduce.below(run.batches.byDone.end, from), last = virnucReduce.below(run.batches.byDone.start, to);
    const crowded = run.lanes.some((lane) => { const [a, b] = virnucReduce.inView(lane, from, to); return b - a > virnucDrawing.MOST; });
    const count = run.rest ? "" : `, ${virnucTelling.count(Math.max(last - first, 0))} ${last - first === 1 ? "batch" : "batches"}`;
    const how = run.rest && !exactHere(from, to) ? `the times of most batches here are kept as sums of ${virnucTelling.time(run.rest.width)}`
      : crowded ? `one bar for each ${virnucTelling.time(view.pixel)}: its height is the share of that time`
      : "each interval as it was measured";
    status.textContent = `${place}${count}: ${how}.`;
  }
  function exactHere(from, to) {
    const { rest } = state.run, a = Math.floor(from / rest.width), b = Math.ceil(to / rest.width);
    for (let bucket = Math.max(a, 0); bucket < Math.min(b, rest.buckets); bucket++) if (rest.pace.count[bucket] > 0) return false;
    return true;
  }

  // To one batch, the slowest ones, and the longest gaps.
  function showBatch(batch) {
    const { batches, rows } = state.run;
    let from = Math.min(batches.start[batch], batches.since[batch]), to = Math.max(batches.end[batch], batches.done[batch]);
    for (let row = batches.first[batch]; row < batches.first[batch + 1]; row++) to = Math.max(to, rows.end[row], rows.timed[row] ? rows.deviceEnd[row] : 0);
    const margin = 0.04 * Math.max(to - from, 1);
    show(from - margin, to + margin);
    select(batch);
  }
  function select(batch) {
    state.selected = batch;
    details.replaceChildren(...virnucTelling.batch(state.run, about.names, batch));
  }
  function goTo(index) {
    const { run } = state, batch = run.batches.place.get(index);
    if (batch !== undefined) return showBatch(batch);
    if (!run.rest || index < run.rest.index[0] || index >= about.indices) {
      details.textContent = `There is no batch ${index} in this run.`;
      return undefined;
    }
    const place = virnucReduce.below(run.rest.index, index, true) - 1;
    const from = run.rest.start[place], to = run.rest.start[place + 1] ?? about.elapsed;
    show(from, to);
    details.textContent = `The times of batch ${virnucTelling.count(index)} are not kept one by one in this page; it began in the part that is shown.`;
    return undefined;
  }
  function slowest() {
    const { batches, bySlowness } = state.run;
    if (!bySlowness.length) return;
    state.slow = (state.slow + 1) % bySlowness.length;
    showBatch(bySlowness[state.slow]);
    details.firstChild.prepend(`Slowest batch ${state.slow + 1} of ${bySlowness.length}. `);
  }
  function nextGap(step) {
    const { gaps, longGaps: places } = state.run;
    if (!places.length) { details.textContent = "No gaps are known: the device was not timed."; return; }
    const [from, to] = shown(), middle = (from + to) / 2, inside = to - from < 0.9 * about.elapsed;
    const center = (gap) => (gaps.start[gap] + gaps.end[gap]) / 2, slack = 1e-6 * (to - from);
    const gap = step > 0 ? places.find((one) => !inside || center(one) > middle + slack) ?? places[0]
      : [...places].reverse().find((one) => !inside || center(one) < middle - slack) ?? places.at(-1);
    const length = gaps.end[gap] - gaps.start[gap];
    show(gaps.start[gap] - 2 * length, gaps.end[gap] + 2 * length);
    details.textContent = virnucTelling.idle(state.run, about.causes, center(gap), currentView()).join("; ") + ".";
  }

  const actions = {
    left: () => pan(-0.25), right: () => pan(0.25), in: () => zoom(0.5), out: () => zoom(2), whole,
    slow: () => state.run && slowest(), gap: () => state.run && nextGap(1), "gap-before": () => state.run && nextGap(-1),
  };
  const keys = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", _: "out", 0: "whole", s: "slow", n: "gap", N: "gap-before" };
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || !state.range) return;
    if (event.key === "g") byId("timeline-index").focus();
    else if (event.key === "Escape") wheel(false);
    else if (keys[event.key]) actions[keys[event.key]]();
    else return;
    event.preventDefault();
    event.stopPropagation();  // the keys of all charts know nothing of the run's ends
  }
  figure.addEventListener("keydown", onKey, true);
  root.addEventListener("keydown", onKey, true);
  root.addEventListener("click", (event) => { const button = event.target.closest("[data-action]"); if (button && state.range) actions[button.dataset.action](); });
  byId("timeline-go").addEventListener("submit", (event) => {
    event.preventDefault();
    const index = Number.parseInt(byId("timeline-index").value.replace(/[, ]/g, ""), 10);
    if (state.run && Number.isFinite(index)) goTo(index);
  });

  // The wheel zooms with Ctrl, or after a click into the charts; otherwise it scrolls the page.
  let wheelZooms = false;
  const wheel = (on) => { wheelZooms = on; figure.classList.toggle("active", on); };
  figure.addEventListener("pointerdown", () => wheel(true));
  document.addEventListener("pointerdown", (event) => { if (!figure.contains(event.target)) wheel(false); });
  figure.addEventListener("focusout", (event) => { if (event.relatedTarget && !figure.contains(event.relatedTarget)) wheel(false); });
  let pointer = null;  // where the charts say the pointer is
  figure.addEventListener("wheel", (event) => {
    if (!state.range || !(wheelZooms || event.ctrlKey)) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) return pan(event.deltaX / 1000);
    return zoom(Math.exp(Math.max(-300, Math.min(300, event.deltaY)) / 400), pointer?.at);
  }, { passive: false, capture: true });

  // What lies under the pointer, in words.
  function told(chart, at, y) {
    const { run } = state, view = currentView();
    if (chart === "timeline-pace") return virnucTelling.pace(run, at, view);
    if (chart !== "timeline-gantt")
      return virnucTelling.curves(run.curves.filter((curve) => `timeline-${curve.panel}` === chart), at, view, about.throttling);
    const inside = (place) => place && y >= place.bottom - 0.1 && y <= place.top + 0.1;
    if (inside(about.idle)) return virnucTelling.idle(run, about.causes, at, view);
    const number = about.lanes.findIndex((lane) => inside(lane.place));
    if (number >= 0) return virnucTelling.lane(run, run.lanes[number], about.names[about.lanes[number].stage], at, view);
    if (inside(about.flight)) return virnucTelling.pace(run, at, view);
    return [];
  }
  function hover(event, chart) {
    pointer = { at: event.x * 1e9 };
    const lines = state.run && event.x >= state.range.start && event.x <= state.range.end ? told(chart, event.x * 1e9, event.y) : [];
    tip.replaceChildren(...lines.map((line, number) => {
      const one = document.createElement("div"); one.textContent = line; if (number === 0) one.style.fontWeight = "600"; return one;
    }));
    tip.hidden = lines.length === 0;
    const box = tip.getBoundingClientRect();
    const left = mouse.x + 14 + box.width > innerWidth ? mouse.x - box.width - 10 : mouse.x + 14;
    tip.style.left = `${Math.max(6, left)}px`;
    tip.style.top = `${Math.max(6, Math.min(mouse.y + 14, innerHeight - box.height - 6))}px`;
  }
  const mouse = { x: 0, y: 0 };
  figure.addEventListener("pointermove", (event) => { mouse.x = event.clientX; mouse.y = event.clientY; }, true);
  figure.addEventListener("pointerleave", () => { tip.hidden = true; pointer = null; });

  function tapped(event, chart) {
    if (!state.run || (chart !== "timeline-gantt" && chart !== "timeline-pace")) return;
    const batch = virnucTelling.batchAt(state.run, event.x * 1e9);
    if (batch >= 0) select(batch);
  }

  // Print shows the whole run. No frame is drawn before it, so that the charts are painted here, after their data have
  // arrived, for which they need some turns of the queue.
  async function printWhole() {
    state.before = shown();
    whole();
    redraw();
    for (let turn = 0; turn < 100; turn++) await null;
    for (const chart of about.charts) {
      const view = Bokeh.index.find_one?.(state.doc.get_model_by_name(chart));
      view?.invalidate_painters?.();
      view?.repaint?.();
    }
    state.stats.printed = shown();
  }

  function connect() {
    state.doc = Bokeh.documents.find((doc) => doc.get_model_by_name?.("timeline-x"));
    state.range = state.doc.get_model_by_name("timeline-x");
    state.range.change.connect(schedule);
    for (const chart of about.charts) {
      const model = state.doc.get_model_by_name(chart);
      model.on_event("mousemove", (event) => hover(event, chart));
      model.on_event("mouseleave", () => { tip.hidden = true; });
      model.on_event("tap", (event) => tapped(event, chart));
    }
    state.doc.get_model_by_name(about.charts[0]).properties.inner_width.change.connect(schedule);
    addEventListener("beforeprint", printWhole);
    addEventListener("afterprint", () => { if (state.before) show(...state.before); });
    redraw();
  }
  function prepare(run) {
    const { batches } = run, free = [], most = 12;
    run.slot = new Uint8Array(batches.index.length);
    for (let batch = 0; batch < batches.index.length; batch++) {
      let row = free.findIndex((end) => end <= batches.start[batch]);
      if (row < 0) row = free.length < most ? free.length : free.indexOf(Math.min(...free));
      free[row] = batches.end[batch];
      run.slot[batch] = row;
    }
    run.slots = Math.max(1, free.length);
    run.mostInFlight = about.most_in_flight;
    run.bySlowness = virnucRun.largest(batches.done.map((at, batch) => at - batches.since[batch]), 100);
    run.longGaps = virnucRun.largest(run.gaps.end.map((at, gap) => at - run.gaps.start[gap]), 200).sort((a, b) => a - b);
  }
  async function unpack() {
    if (typeof DecompressionStream === "undefined") {
      state.unpackable = false;
      status.textContent = "This browser cannot unpack the times of single batches (it lacks DecompressionStream, which all browsers have since May 2023): the charts show the run in parts.";
      status.classList.add("warning");
      return;
    }
    const started = performance.now();
    const columns = await virnucColumns.unpack(byId("timeline-columns").textContent, about.columns);
    const run = virnucRun.from(columns, about);
    prepare(run);
    state.run = run;
    state.stats.unpackMs = performance.now() - started;
    if (state.range) redraw();
    root.dataset.ready = "";
  }

  if (target.hasAttribute("data-drawn")) connect();
  else new MutationObserver((_, observer) => { if (target.hasAttribute("data-drawn")) { observer.disconnect(); connect(); } })
    .observe(target, { attributes: true, attributeFilter: ["data-drawn"] });
  requestAnimationFrame(() => setTimeout(unpack));
})();

"use strict";
// Words and exact numbers about a moment, a lane or a batch. Everything is set as text, never as markup.
const virnucTelling = {
  time(ns) {
    const size = Math.abs(ns);
    if (size >= 1e9) return `${(ns / 1e9).toLocaleString("en", { maximumFractionDigits: 3 })} s`;
    if (size >= 1e6) return `${(ns / 1e6).toLocaleString("en", { maximumFractionDigits: 3 })} ms`;
    if (size >= 1e3) return `${(ns / 1e3).toLocaleString("en", { maximumFractionDigits: 3 })} µs`;
    return `${Math.round(ns)} ns`;
  },
  exact: (ns) => `${(ns / 1e6).toFixed(6)} ms`,
  moment: (ns) => `${(ns / 1e9).toFixed(9)} s`,
  count: (value) => value.toLocaleString("en"),
  share: (value) => `${(100 * value).toPrecision(3)} %`,

  lane(run, lane, name, at, view) {
    const where = lane.device ? "on the GPU" : "on the host";
    const [first, last] = virnucReduce.inView(lane, at - view.pixel, at + view.pixel);
    let best = -1;
    for (let k = first; k < last; k++)
      if (lane.end[k] >= at - view.pixel && (best < 0 || Math.abs(lane.start[k] + lane.end[k] - 2 * at) < Math.abs(lane.start[best] + lane.end[best] - 2 * at))) best = k;
    const single = last - first <= 3 && best >= 0;
    if (single) {
      const exact = run.rows.timed[lane.row[best]] === 2 && lane.device ? ", timed by the device itself" : "";
      return [`${name} ${where}, batch ${virnucTelling.count(run.batches.index[run.rows.batch[lane.row[best]]])}`,
        `${virnucTelling.exact(lane.end[best] - lane.start[best])}${exact}`,
        `${virnucTelling.moment(lane.start[best])} to ${virnucTelling.moment(lane.end[best])}`];
    }
    const edges = Float64Array.of(at - view.pixel / 2, at + view.pixel / 2);
    const covered = virnucReduce.covered(lane.busy, edges, lane.rest?.covered, view.elapsed)[0];
    let count = 0, longest = 0;
    for (let k = first; k < last; k++) { count++; longest = Math.max(longest, lane.end[k] - lane.start[k]); }
    const lines = [`${name} ${where}`, `${virnucTelling.share(Math.min(1, covered / view.pixel))} of ${virnucTelling.time(view.pixel)} around ${virnucTelling.moment(at)}`];
    if (count) lines.push(`${virnucTelling.count(count)} intervals, the longest ${virnucTelling.time(longest)}`);
    if (lane.rest) {
      const bucket = Math.min(Math.floor(at / run.rest.width), run.rest.buckets - 1);
      lines.push(`reduced: ${virnucTelling.count(lane.rest.count[bucket])} intervals end in these ${virnucTelling.time(run.rest.width)}, the longest ${virnucTelling.time(lane.rest.longest[bucket])}`);
    }
    return lines;
  },

  idle(run, causes, at, view) {
    const { gaps } = run;
    const [first, last] = virnucReduce.inView(gaps, at - view.pixel, at + view.pixel);
    if (last - first <= 2 && last > first) {
      const gap = last - 1, lines = [`the GPU is in no stage for ${virnucTelling.exact(gaps.end[gap] - gaps.start[gap])}`];
      for (let part = gaps.first[gap]; part < gaps.first[gap + 1]; part++)
        lines.push(`${causes[gaps.cause[part]]}: ${virnucTelling.exact(gaps.spent[part])}`);
      return [...lines, `${virnucTelling.moment(gaps.start[gap])} to ${virnucTelling.moment(gaps.end[gap])}`];
    }
    const edges = Float64Array.of(at - view.pixel / 2, at + view.pixel / 2);
    const spent = gaps.byCause.map((one) => virnucReduce.spent(one, edges, one.rest, view.elapsed)[0]);
    const lines = spent.map((ns, cause) => [ns, cause]).filter(([ns]) => ns > 0).sort((a, b) => b[0] - a[0])
      .map(([ns, cause]) => `${causes[cause]}: ${virnucTelling.share(ns / view.pixel)} of ${virnucTelling.time(view.pixel)}`);
    return lines.length ? ["the GPU is in no stage", ...lines] : [];
  },

  batchAt(run, at) {
    const place = virnucReduce.below(run.batches.byDone.end, at);
    const batch = run.batches.order[place];
    return batch === undefined || run.batches.since[batch] > at ? -1 : batch;
  },

  pace(run, at, view) {
    const batch = virnucTelling.batchAt(run, at), lines = [];
    const edges = Float64Array.of(at - view.pixel / 2, at + view.pixel / 2);
    const found = virnucReduce.pace(run.batches.byDone, edges, run.rest);
    if (found.count[0] > 1) lines.push(
      `${virnucTelling.count(found.count[0])} batches in ${virnucTelling.time(view.pixel)}: mean ${virnucTelling.time(found.mean[0])}`,
      `${virnucTelling.time(found.low[0])} to ${virnucTelling.time(found.high[0])}`);
    else if (batch >= 0) lines.push(
      `batch ${virnucTelling.count(run.batches.index[batch])}: ${virnucTelling.exact(run.batches.done[batch] - run.batches.since[batch])} since the one before`,
      `complete at ${virnucTelling.moment(run.batches.done[batch])}`);
    return lines;
  },

  curves(curves, at, view, throttling, names) {
    const lines = [];
    for (const curve of curves) {
      const k = virnucReduce.below(curve.end, at);
      if (k >= curve.start.length || curve.start[k] > at) continue;
      const text = curve.value[k].toLocaleString("en", { maximumFractionDigits: 2 });
      lines.push(`${curve.label}: ${text} ${curve.unit} (for ${virnucTelling.time(curve.end[k] - curve.start[k])})`);
    }
    for (const one of throttling)
      if (one.times.some(([start, end]) => start <= at && at <= end)) lines.push(`clocks lowered: ${one.reason}`);
    return lines.length ? [`at ${virnucTelling.moment(at)}`, ...lines] : [];
  },

  // A table of the times of one batch, exactly as in the file.
  batch(run, names, batch) {
    const { batches, rows } = run;
    const make = (tag, text = "") => { const one = document.createElement(tag); one.textContent = text; return one; };
    const caption = make("p"), strong = make("strong", `Batch ${virnucTelling.count(batches.index[batch])}`);
    const facts = [`${virnucTelling.exact(batches.done[batch] - batches.since[batch])} after the completion of the batch before it`,
      `${virnucTelling.exact(batches.end[batch] - batches.start[batch])} from its start to its delivery`];
    if (batches.tokens[batch] >= 0) {
      const budget = batches.token_budget[batch];
      facts.push(`${virnucTelling.count(batches.sequences[batch])} sequences, ${virnucTelling.count(batches.tokens[batch])} tokens${budget > 0 ? ` of ${virnucTelling.count(budget)}` : ""}, longest ${virnucTelling.count(batches.max_length[batch])}`);
    }
    if (batches.flags[batch] & 4) facts.push("device times missing or incomplete");
    caption.append(strong, `: ${facts.join("; ")}.`);
    const table = make("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    table.className = "data";
    for (const text of ["Stage", "Host start, s", "Host, ms", "GPU start, s", "GPU, ms"]) {
      const cell = make("th", text); cell.scope = "col"; if (text !== "Stage") cell.className = "num"; head.append(cell);
    }
    for (let row = batches.first[batch]; row < batches.first[batch + 1]; row++) {
      const line = body.insertRow(), name = make("th", names[rows.stage[row]]);
      name.scope = "row"; line.append(name);
      const device = rows.timed[row] ? [(rows.deviceStart[row] / 1e9).toFixed(9), ((rows.deviceEnd[row] - rows.deviceStart[row]) / 1e6).toFixed(6)] : ["n/a", "n/a"];
      for (const text of [(rows.start[row] / 1e9).toFixed(9), ((rows.end[row] - rows.start[row]) / 1e6).toFixed(6), ...device]) {
        const cell = make("td", text); cell.className = "num"; line.append(cell);
      }
    }
    const scroll = make("div"); scroll.className = "scroll"; scroll.append(table);
    return [caption, scroll];
  },
};

"use strict";
// The run from its columns: batches, lanes of stages, gaps and curves, each with what makes its reduction fast.
const virnucRun = {
  from(columns, about) {
    const run = { about, elapsed: about.elapsed, batches: virnucRun.batches(columns) };
    const rows = virnucRun.rows(columns, about, run.batches);
    run.rows = rows;
    virnucRun.finishBatches(columns, run.batches, rows);
    run.lanes = about.lanes.map((lane, number) => virnucRun.lane(columns, lane, number, rows, about));
    run.gaps = virnucRun.gaps(columns, about, run.lanes);
    run.curves = about.curves.map((curve, number) => virnucRun.curve(columns, curve, number));
    run.rest = about.whole ? null : virnucRun.rest(columns, about);
    return run;
  },

  batches(columns) {
    const names = ["index", "start", "stages", "tokens", "sequences", "max_length", "token_budget", "flags"];
    return Object.fromEntries(names.map((name) => [name, columns.get(`batch.${name}`)]));
  },

  // The stages of all batches in the order of the file. Each start is its distance from a time that is known by then.
  rows(columns, about, batches) {
    const stage = columns.get("row.stage"), timed = columns.get("row.timed"), count = stage.length;
    const make = () => new Float64Array(count);
    const rows = { stage, timed, batch: new Int32Array(count), start: make(), end: make(), deviceStart: make(), deviceEnd: make() };
    const get = (part) => about.stages.map((number) => columns.get(part.replace("*", number)));
    const host = get("host.*.start"), hostLength = get("host.*.length");
    const device = get("device.*.start"), deviceLength = get("device.*.length");
    const hostAt = new Int32Array(about.stages.length), deviceAt = new Int32Array(about.stages.length);
    let row = 0, reached = 0, any = false;
    batches.first = new Int32Array(batches.index.length + 1);
    for (let batch = 0; batch < batches.index.length; batch++) {
      batches.first[batch] = row;
      const own = batches.start[batch];
      for (let place = 0; place < batches.stages[batch]; place++, row++) {
        const name = stage[row], k = hostAt[name]++;
        const reference = about.references.host[name];
        const known = reference === 0 ? own : reference === 1 ? (place > 0 ? rows.start[row - 1] : own)
          : reference === 2 ? (place > 0 ? rows.end[row - 1] : own) : (place > 1 ? rows.end[row - 2] : own);
        rows.batch[row] = batch;
        rows.start[row] = known + host[name][k];
        rows.end[row] = rows.start[row] + hostLength[name][k];
        if (!timed[row]) continue;
        const d = deviceAt[name]++;
        rows.deviceStart[row] = (about.references.device[name] === 0 ? rows.start[row] : reached) + device[name][d];
        rows.deviceEnd[row] = rows.deviceStart[row] + deviceLength[name][d];
        reached = any ? Math.max(reached, rows.deviceEnd[row]) : rows.deviceEnd[row];
        any = true;
      }
    }
    batches.first[batches.index.length] = row;
    return rows;
  },

  finishBatches(columns, batches, rows) {
    const count = batches.index.length;
    batches.end = columns.get("batch.end").slice();
    batches.done = columns.get("batch.done").slice();
    for (let batch = 0; batch < count; batch++) {
      let host = batches.start[batch], device = -Infinity;
      for (let row = batches.first[batch]; row < batches.first[batch + 1]; row++) {
        host = Math.max(host, rows.end[row]);
        if (rows.timed[row]) device = Math.max(device, rows.deviceEnd[row]);
      }
      batches.end[batch] += host;
      batches.done[batch] += device === -Infinity ? batches.end[batch] : device;
    }
    const order = new Int32Array(count).map((_, batch) => batch);
    if (!batches.done.every((at, batch) => batch === 0 || batches.done[batch - 1] < at))
      order.sort((a, b) => batches.done[a] - batches.done[b] || batches.start[a] - batches.start[b] || a - b);
    batches.order = order;
    batches.since = columns.get("batch.since").slice();
    for (let place = 0; place < count; place++)
      batches.since[order[place]] += place > 0 ? batches.done[order[place - 1]] : batches.start[order[place]];
    batches.place = new Map();
    for (let batch = 0; batch < count; batch++) batches.place.set(batches.index[batch], batch);
    batches.byDone = {
      start: new Float64Array(count).map((_, place) => batches.since[order[place]]),
      end: new Float64Array(count).map((_, place) => batches.done[order[place]]),
    };
    batches.reach = virnucRun.reach(batches.end);
  },

  lane(columns, { stage, device }, number, rows, about) {
    const starts = device ? rows.deviceStart : rows.start, ends = device ? rows.deviceEnd : rows.end;
    const found = new Int32Array(rows.stage.length);
    let count = 0, ordered = true;
    for (let row = 0; row < rows.stage.length; row++) {
      if (rows.stage[row] !== stage || (device && !rows.timed[row])) continue;
      if (count > 0 && starts[row] < starts[found[count - 1]]) ordered = false;
      found[count++] = row;
    }
    const row = found.slice(0, count);
    if (!ordered) row.sort((a, b) => starts[a] - starts[b]);
    const lane = { stage, device, row, start: new Float64Array(count), end: new Float64Array(count) };
    for (let k = 0; k < count; k++) { lane.start[k] = starts[row[k]]; lane.end[k] = ends[row[k]]; }
    lane.reach = virnucRun.reach(lane.end);
    lane.busy = virnucRun.merged([lane]);
    if (!about.whole)
      lane.rest = Object.fromEntries(["covered", "count", "longest"].map((name) => [name, columns.get(`rest.${number}.${name}`)]));
    return lane;
  },

  // The latest end up to each place, by which the intervals that reach into a view are found.
  reach(ends) {
    const reach = new Float64Array(ends.length);
    for (let i = 0, latest = -Infinity; i < ends.length; i++) reach[i] = latest = Math.max(latest, ends[i]);
    return reach;
  },

  // Disjoint intervals of some lanes within limits, with the time that those before each of them cover.
  merged(lanes, low = -Infinity, high = Infinity) {
    const size = lanes.reduce((sum, lane) => sum + lane.start.length, 0), at = lanes.map(() => 0);
    const start = new Float64Array(size), end = new Float64Array(size), before = new Float64Array(size);
    let total = 0, count = 0;
    for (let k = 0; k < size; k++) {
      let next = -1;  // the lane with the earliest start
      for (let i = 0; i < lanes.length; i++)
        if (at[i] < lanes[i].start.length && (next < 0 || lanes[i].start[at[i]] < lanes[next].start[at[next]])) next = i;
      const from = Math.max(lanes[next].start[at[next]], low), to = Math.min(lanes[next].end[at[next]++], high);
      if (from >= to) continue;
      if (count > 0 && from <= end[count - 1]) {
        if (to > end[count - 1]) { total += to - end[count - 1]; end[count - 1] = to; }
      } else { start[count] = from; end[count] = to; before[count++] = total; total += to - from; }
    }
    return { start: start.slice(0, count), end: end.slice(0, count), before: before.slice(0, count) };
  },

  gaps(columns, about, lanes) {
    const staged = virnucRun.merged(lanes.filter((lane) => lane.device), 0, about.elapsed);
    const get = (name) => columns.get(`gap.${name}`);
    const after = get("after"), part = get("part"), cause = get("cause"), less = get("less");
    const start = get("start").slice(), end = get("end").slice(), spent = new Float64Array(part.length);
    for (let gap = 0; gap < after.length; gap++) {
      start[gap] += after[gap] > 0 ? staged.end[after[gap] - 1] : 0;
      end[gap] += after[gap] < staged.start.length ? staged.start[after[gap]] : about.elapsed;
    }
    const first = new Int32Array(start.length + 1), counts = about.causes.map(() => 0);
    for (let k = 0; k < part.length; k++) { first[part[k] + 1]++; counts[cause[k]]++; spent[k] = end[part[k]] - start[part[k]] - less[k]; }
    for (let gap = 0; gap < start.length; gap++) first[gap + 1] += first[gap];
    const make = (count) => new Float64Array(count);
    const byCause = counts.map((count) => ({ start: make(count), end: make(count), spent: make(count), before: make(count), total: 0, count: 0 }));
    for (let k = 0; k < part.length; k++) {
      const one = byCause[cause[k]], place = one.count++;
      one.start[place] = start[part[k]]; one.end[place] = end[part[k]]; one.spent[place] = spent[k]; one.before[place] = one.total;
      one.total += spent[k];
    }
    byCause.forEach((one, number) => { if (!about.whole) one.rest = columns.get(`rest.idle.${number}`); });
    return { start, end, reach: end, first, cause, spent, byCause };
  },

  // The places of the largest values, the largest first.
  largest(values, count) {
    const least = values.slice().sort()[Math.max(values.length - count, 0)];
    const places = [];
    for (let i = 0; i < values.length; i++) if (values[i] >= least) places.push(i);
    return places.sort((a, b) => values[b] - values[a]).slice(0, count);
  },

  curve(columns, curve, number) {
    const start = columns.get(`curve.${number}.start`), length = columns.get(`curve.${number}.length`);
    const value = columns.get(`curve.${number}.value`).map((whole) => whole / 1e6);
    return { ...curve, start, end: start.map((at, i) => at + length[i]), value };
  },

  rest(columns, about) {
    const pace = Object.fromEntries(["count", "low", "mean", "high"].map((name) => [name, columns.get(`rest.pace.${name}`)]));
    const inFlight = columns.get("rest.in_flight");
    return { buckets: about.rest_buckets, width: about.elapsed / about.rest_buckets, pace, inFlight,
      index: columns.get("all.index"), start: columns.get("all.start") };
  },
};

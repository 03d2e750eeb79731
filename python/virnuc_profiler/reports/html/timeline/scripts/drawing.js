"use strict";
// What a chart draws of a part of the run: each interval while there are few, and one bar for each pixel otherwise.
const virnucDrawing = {
  MOST: 700,       // intervals of one lane that are drawn one by one
  LEAST: 0.08,     // height of a bar that stands for any time at all, as a share of its lane
  seconds: (ns) => ns / 1e9,

  quads() {
    const data = { left: [], right: [], bottom: [], top: [] };
    return {
      data,
      add(left, right, bottom, top) {
        data.left.push(left / 1e9); data.right.push(right / 1e9); data.bottom.push(bottom); data.top.push(top);
      },
    };
  },

  // A lane of stages. Bars grow from the bottom of the lane; a whole one means all of that time.
  lane(lane, view, place, quads) {
    const [first, last] = virnucReduce.inView(lane, view.from, view.to);
    const exact = last - first <= virnucDrawing.MOST;
    if (exact)
      for (let k = first; k < last; k++)
        if (lane.end[k] > view.from || lane.end[k] === lane.start[k])
          quads.add(lane.start[k], Math.max(lane.end[k], lane.start[k] + view.pixel), place.bottom, place.top);
    if (!exact || lane.rest) {
      const busy = exact ? { start: [], end: [], before: [] } : lane.busy;
      const covered = virnucReduce.covered(busy, view.edges, lane.rest?.covered, view.elapsed);
      virnucDrawing.bars(quads, view.edges, covered, place);
    }
  },

  // Bars of equal height next to each other become one.
  bars(quads, edges, time, place) {
    const height = place.top - place.bottom, parts = edges.length - 1;
    const seam = 0.6 * (edges[1] - edges[0]);  // neighbors overlap a little: no light shows between them
    let open = null;
    for (let i = 0; i < parts; i++) {
      const share = Math.min(1, time[i] / (edges[i + 1] - edges[i]));
      const drawn = share > 1e-9 ? Math.max(share, virnucDrawing.LEAST) : 0;
      if (open && Math.abs(drawn - open.drawn) < 0.004) { open.right = edges[i + 1]; continue; }
      if (open && open.drawn > 0) quads.add(open.left, open.right + seam, place.bottom, place.bottom + height * open.drawn);
      open = { left: edges[i], right: edges[i + 1], drawn };
    }
    if (open && open.drawn > 0) quads.add(open.left, open.right, place.bottom, place.bottom + height * open.drawn);
  },

  // Idle time of the device, stacked by cause, into the bars of each cause.
  idle(gaps, view, place, rest, found) {
    const height = place.top - place.bottom;
    const [first, last] = virnucReduce.inView(gaps, view.from, view.to);
    const exact = last - first <= virnucDrawing.MOST;
    if (exact)
      for (let gap = first; gap < last; gap++) {
        const length = gaps.end[gap] - gaps.start[gap];
        let bottom = place.bottom;
        for (let part = gaps.first[gap]; part < gaps.first[gap + 1]; part++) {
          const top = bottom + height * gaps.spent[part] / length;
          found[gaps.cause[part]].add(gaps.start[gap], Math.max(gaps.end[gap], gaps.start[gap] + view.pixel), bottom, top);
          bottom = top;
        }
      }
    if (!exact || rest) {
      const spent = gaps.byCause.map((one) => one.total > 0 || one.rest
        ? virnucReduce.spent(exact ? { start: [], end: [], spent: [], before: [] } : one, view.edges, one.rest, view.elapsed) : null);
      for (let i = 0; i + 1 < view.edges.length; i++) {
        const width = view.edges[i + 1] - view.edges[i];
        let total = 0;
        for (const one of spent) if (one) total += one[i];
        if (total <= width * 1e-9) continue;
        const scale = height * Math.max(total / width, virnucDrawing.LEAST) / total;
        let bottom = place.bottom;
        spent.forEach((one, cause) => {
          if (!one || one[i] <= 0) return;
          const top = bottom + scale * one[i];
          found[cause].add(view.edges[i], view.edges[i + 1] + 0.6 * width, bottom, top);
          bottom = top;
        });
      }
    }
  },

  // Batches from start to end, in as many rows as are in flight; many of them as their mean number.
  flight(run, view, place) {
    const { batches } = run, quads = virnucDrawing.quads();
    const [first, last] = virnucReduce.inView({ start: batches.start, reach: batches.reach }, view.from, view.to);
    const names = { x: [], y: [], text: [] };
    const rows = run.slots, height = (place.top - place.bottom) / rows;
    const exact = last - first <= virnucDrawing.MOST && !run.rest;
    if (exact) {
      for (let batch = first; batch < last; batch++) {
        if (batches.end[batch] <= view.from) continue;
        const bottom = place.top - (run.slot[batch] + 1) * height;
        const end = Math.max(batches.end[batch], batches.start[batch] + view.pixel);
        quads.add(batches.start[batch], end, bottom + 0.1 * height, bottom + 0.9 * height);
        const from = Math.max(batches.start[batch], view.from), to = Math.min(batches.end[batch], view.to);
        if ((to - from) / view.pixel < 9 * String(batches.index[batch]).length) continue;
        names.x.push((from + to) / 2e9); names.y.push(bottom + height / 2); names.text.push(String(batches.index[batch]));
      }
      return [quads.data, names];
    }
    const time = virnucReduce.summed({ start: batches.start, end: batches.end, reach: batches.reach }, view.edges, run.rest?.inFlight, view.elapsed);
    for (let i = 0; i < time.length; i++) time[i] /= run.mostInFlight;
    virnucDrawing.bars(quads, view.edges, time, place);
    return [quads.data, names];
  },

  // Least to largest as a band, the mean as a line of steps; the line breaks where nothing is known.
  steps(left, right, mean) {
    const x = [], y = [];
    for (let i = 0; i < mean.length; i++) {
      if (Number.isNaN(mean[i])) { if (x.length) { x.push(left[i] / 1e9); y.push(NaN); } continue; }
      if (i > 0 && left[i] > right[i - 1]) { x.push(right[i - 1] / 1e9); y.push(NaN); }
      x.push(left[i] / 1e9, right[i] / 1e9); y.push(mean[i], mean[i]);
    }
    return { x, y };
  },

  // Parts without values have a band without height, at the value before: an area cannot be interrupted.
  band(edges, { low, high }, unit = 1) {
    const x = [], y1 = [], y2 = [];
    let before = 1;
    for (let i = 0; i < low.length; i++) {
      const known = high[i] >= low[i];
      const least = known ? low[i] / unit : before, largest = known ? high[i] / unit : before;
      x.push(edges[i] / 1e9, edges[i + 1] / 1e9);
      y1.push(least, least);
      y2.push(largest, largest);
      before = largest;
    }
    return { x, y1, y2 };
  },

  pace(run, view) {
    const times = run.batches.byDone, { start, end } = times;
    const first = virnucReduce.below(end, view.from), last = virnucReduce.below(start, view.to);
    const nothing = { x: [], y1: [], y2: [] };
    if (!run.rest && last - first <= virnucDrawing.MOST) {
      const took = end.subarray(first, last).map((at, k) => Math.max((at - start[first + k]) / 1e6, 1e-6));
      return [nothing, virnucDrawing.steps(start.subarray(first, last), end.subarray(first, last), took)];
    }
    const found = virnucReduce.pace(times, view.edges, run.rest), floor = (values) => values.map((ns) => Math.max(ns, 1));
    const floored = { low: floor(found.low), high: floor(found.high) };
    const band = virnucDrawing.band(view.edges, floored, 1e6);
    return [band, virnucDrawing.steps(view.edges.subarray(0, -1), view.edges.subarray(1), floor(found.mean).map((ns) => ns / 1e6))];
  },

  curve(curve, view) {
    const all = curve.start.length <= virnucDrawing.MOST;  // few enough to stay in the chart
    const first = all ? 0 : virnucReduce.below(curve.end, view.from, true);
    const last = all ? curve.start.length : virnucReduce.below(curve.start, view.to);
    if (last - first <= virnucDrawing.MOST)
      return [{ x: [], y1: [], y2: [] }, virnucDrawing.steps(
        curve.start.subarray(first, last), curve.end.subarray(first, last), curve.value.subarray(first, last))];
    const found = virnucReduce.curve(curve, view.edges);
    return [virnucDrawing.band(view.edges, found), virnucDrawing.steps(view.edges.subarray(0, -1), view.edges.subarray(1), found.mean)];
  },
};

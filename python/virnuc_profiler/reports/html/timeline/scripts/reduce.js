"use strict";
// Honest reduction: what falls into each part of a view, such as a pixel. Nothing is sampled or left out.
const virnucReduce = {
  // Number of values below (or, with orEqual, up to) a limit, in an ascending column.
  below(values, limit, orEqual = false) {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < limit || (orEqual && values[middle] === limit)) low = middle + 1; else high = middle;
    }
    return low;
  },

  edges(from, to, count) {
    return Float64Array.from({ length: count + 1 }, (_, i) => (i === count ? to : from + (to - from) * (i / count)));
  },

  // The places of the intervals that reach into a view: reach is the latest end so far.
  inView({ start, reach }, from, to) {
    return [virnucReduce.below(reach, from, true), virnucReduce.below(start, to)];
  },

  // Time of disjoint intervals in each part, from their sums up to each edge.
  covered({ start, end, before }, edges, rest, elapsed) {
    const upTo = (at) => {
      const k = virnucReduce.below(start, at) - 1;
      return k < 0 ? 0 : before[k] + Math.min(at, end[k]) - start[k];
    };
    return virnucReduce.differences(edges, upTo, rest, elapsed);
  },

  // The same for intervals of which only a part counts, such as a gap's time by one cause.
  spent({ start, end, spent, before }, edges, rest, elapsed) {
    const upTo = (at) => {
      const k = virnucReduce.below(start, at) - 1;
      return k < 0 ? 0 : before[k] + spent[k] * Math.min(1, (at - start[k]) / (end[k] - start[k]));
    };
    return virnucReduce.differences(edges, upTo, rest, elapsed);
  },

  differences(edges, upTo, rest, elapsed) {
    const found = new Float64Array(edges.length - 1);
    let before = upTo(edges[0]);
    for (let i = 0; i < found.length; i++) { const now = upTo(edges[i + 1]); found[i] = now - before; before = now; }
    if (rest) virnucReduce.addRest(found, edges, rest, elapsed);
    return found;
  },

  // Time that is known for whole buckets only is spread evenly over each of them.
  sums: new WeakMap(),
  addRest(found, edges, rest, elapsed) {
    const { sums } = virnucReduce, width = elapsed / rest.length;
    if (!sums.has(rest)) {
      const before = new Float64Array(rest.length + 1);
      for (let bucket = 0; bucket < rest.length; bucket++) before[bucket + 1] = before[bucket] + rest[bucket];
      sums.set(rest, before);
    }
    const before = sums.get(rest), upTo = (at) => {
      const bucket = Math.min(Math.max(Math.floor(at / width), 0), rest.length - 1);
      return before[bucket] + rest[bucket] * Math.min(Math.max(at / width - bucket, 0), 1);
    };
    for (let i = 0; i < found.length; i++) found[i] += upTo(edges[i + 1]) - upTo(edges[i]);
  },

  // Time of all intervals in each part; overlaps count repeatedly.
  summed({ start, end, reach }, edges, rest, elapsed) {
    const from = edges[0], to = edges[edges.length - 1], parts = edges.length - 1, width = (to - from) / parts;
    const found = new Float64Array(parts);
    const [first, last] = virnucReduce.inView({ start, reach }, from, to);
    for (let k = first; k < last; k++) {
      const low = Math.max(start[k], from), high = Math.min(end[k], to);
      for (let i = Math.min(Math.floor((low - from) / width), parts - 1); i < parts && edges[i] < high; i++)
        found[i] += Math.max(0, Math.min(high, edges[i + 1]) - Math.max(low, edges[i]));
    }
    if (rest) virnucReduce.addRest(found, edges, rest, elapsed);
    return found;
  },

  // Least, mean and largest time of the batches that complete in each part. A part in which none completes shows the
  // batch that it is a part of.
  pace({ start, end }, edges, rest) {
    const parts = edges.length - 1, from = edges[0], to = edges[parts], width = (to - from) / parts;
    const low = new Float64Array(parts).fill(NaN), high = low.slice(), mean = low.slice();
    const count = new Float64Array(parts), total = new Float64Array(parts);
    const note = (i, number, least, sum, largest) => {
      count[i] += number; total[i] += sum;
      low[i] = low[i] <= least ? low[i] : least;
      high[i] = high[i] >= largest ? high[i] : largest;
    };
    for (let k = virnucReduce.below(end, from); k < end.length && end[k] <= to; k++) {
      const took = end[k] - start[k];
      note(Math.min(Math.floor((end[k] - from) / width), parts - 1), 1, took, took, took);
    }
    if (rest) virnucReduce.restPace(rest, edges, note);
    for (let i = 0; i < parts; i++) {
      if (count[i] > 0) { mean[i] = total[i] / count[i]; continue; }
      const k = virnucReduce.below(end, edges[i]);
      if (k < end.length && start[k] < edges[i + 1]) low[i] = mean[i] = high[i] = end[k] - start[k];
    }
    return { low, mean, high, count };
  },

  restPace({ buckets, width, pace }, edges, note) {
    for (let i = 0; i + 1 < edges.length; i++)
      for (let b = Math.max(Math.floor(edges[i] / width), 0); b < buckets && b * width < edges[i + 1]; b++)
        if (pace.count[b] > 0) note(i, pace.count[b], pace.low[b], pace.mean[b] * pace.count[b], pace.high[b]);
  },

  // Least, mean over time and largest value of a curve in each part; NaN where nothing was measured.
  curve({ start, end, value }, edges) {
    const parts = edges.length - 1;
    const low = new Float64Array(parts).fill(NaN), high = low.slice(), mean = low.slice();
    let k = virnucReduce.below(end, edges[0], true);
    for (let i = 0; i < parts; i++) {
      let time = 0, sum = 0;
      while (k < end.length && end[k] <= edges[i]) k++;
      for (let j = k; j < start.length && start[j] < edges[i + 1]; j++) {
        const part = Math.min(end[j], edges[i + 1]) - Math.max(start[j], edges[i]);
        if (part <= 0) continue;
        time += part; sum += part * value[j];
        low[i] = low[i] <= value[j] ? low[i] : value[j];
        high[i] = high[i] >= value[j] ? high[i] : value[j];
      }
      if (time > 0) mean[i] = sum / time;
    }
    return { low, mean, high };
  },
};

"use strict";
// Columns of integers: base64, inflated, byte planes, sign in the lowest bit, perhaps differences.
const virnucColumns = {
  async unpack(text, described) {
    const binary = atob(text);
    const packed = new Uint8Array(binary.length);
    for (let i = 0; i < packed.length; i++) packed[i] = binary.charCodeAt(i);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const columns = new Map();
    let at = 0;
    for (const [name, length, width, differences] of described) {
      columns.set(name, virnucColumns.decode(bytes.subarray(at, at + length * width), length, width, differences));
      at += length * width;
    }
    return columns;
  },

  decode(bytes, length, width, differences) {
    const values = new Float64Array(length);  // exact up to 53 bits
    if (width <= 4) {
      for (let i = 0; i < length; i++) {
        let whole = 0;
        for (let plane = width - 1; plane >= 0; plane--) whole = (whole << 8) | bytes[plane * length + i];
        values[i] = (whole >>> 1) ^ -(whole & 1);
      }
    } else {
      for (let plane = 0, unit = 1; plane < width; plane++, unit *= 256)
        for (let i = 0, at = plane * length; i < length; i++) values[i] += bytes[at + i] * unit;
      for (let i = 0; i < length; i++) {
        const half = Math.floor(values[i] / 2);
        values[i] = values[i] === 2 * half ? half : -half - 1;
      }
    }
    if (differences) for (let i = 1; i < length; i++) values[i] += values[i - 1];
    return values;
  },
};

// Small timelines of short clips: a row for each class, and in it lanes of what is heard and seen.

/**
 * The timelines of one clip.
 *
 * rows: [{label, lanes: [{name, kind, modality, spans: [[onset, offset], ...]}]}]; kind is
 * "predicted" or "annotated", spans are in segments, the offset exclusive. Lanes are drawn below
 * one another, with their names at the left; a screen reader reads each row as a sentence. Letters
 * have their size where the drawing is as wide as `width`, in pixels.
 */
function strips(rows, segments, seconds, width = 520) {
  const lane = 16, left = 132, unit = (width - left - 8) / segments;
  const list = draw("g", { role: "list" });
  let top = 4;
  for (const { label, lanes } of rows) {
    const row = draw("g", { role: "listitem", "aria-label": `${label}. ${lanes.map((each) => said(each, seconds)).join(". ")}` });
    row.append(draw("text", { x: 0, y: top + 12, "font-weight": 600, "aria-hidden": true }, label));
    top += lane;
    for (const each of lanes) {
      row.append(draw("text", { x: 8, y: top + 11, class: "quiet", "aria-hidden": true }, each.name));
      row.append(draw("line", { x1: left, x2: left + segments * unit, y1: top + lane - 3, y2: top + lane - 3, class: "axis" }));
      for (const [onset, offset] of each.spans) {
        const bar = { x: left + onset * unit + 1, y: top + 2, width: Math.max((offset - onset) * unit - 2, 2), height: lane - 6, rx: 2 };
        row.append(draw("rect", { ...bar, class: `${each.kind} ${each.modality}` }));
      }
      top += lane;
    }
    list.append(row);
    top += 6;
  }
  const step = niceStep(segments * seconds, 5), axis = draw("g", { "aria-hidden": true });
  for (let time = 0; time <= segments * seconds + 1e-9; time += step) {
    const x = left + (time / seconds) * unit;
    axis.append(draw("text", { x, y: top + 12, class: "quiet", "text-anchor": time ? "end" : "start" }, clock(time)));
  }
  return draw("svg", { viewBox: `0 0 ${width} ${top + 18}`, class: "strips" }, list, axis);
}

/** A lane in words. */
function said({ name, spans }, seconds) {
  const times = spans.map(([onset, offset]) => `${clock(onset * seconds)} to ${clock(offset * seconds)}`);
  return `${name}: ${times.join(", ") || "nothing"}`;
}

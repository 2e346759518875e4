// Scores as a dot plot: a row for each score, and in it a lane for each side and each paper.

const LANE = 18, ROW_GAP = 12;

/**
 * The plot of some scores, as wide as it will be shown.
 *
 * rows: [{level, words, values: [[mean, half an interval or null], ...]}], with a value for each of
 * letters, then for each of papers; a mean that is null has no mark.
 */
function scoreDots(rows, letters, papers, width) {
  const beside = width > 640, lettersAt = beside ? 210 : 0;
  const left = lettersAt + 26, right = width - 92;
  const scale = scaleOf(rows.flatMap((row) => row.values), left, right);
  const plot = draw("g"), lines = draw("g");
  let top = 4;
  for (const row of rows) {
    const label = row.level === "Whole videos" ? row.words : `${row.level}: ${row.words}`;
    const parts = wrapped(label, beside ? 32 : Math.floor(width / 6.5));
    parts.forEach((part, i) => plot.append(draw("text", { x: 0, y: top + 13 + 15 * i, "font-weight": 600 }, part)));
    if (!beside) top += 15 * parts.length + 4;
    const lanes = row.values.flatMap((value, i) => (value[0] === null ? [] : [[value, i]]));
    lanes.forEach(([value, i], at) => plot.append(laneOf(value, i, letters, papers, scale, top + LANE * at + 9, lettersAt, right)));
    top += Math.max(LANE * lanes.length, beside ? 15 * parts.length : 0) + ROW_GAP;
    lines.append(draw("line", { x1: 0, x2: width, y1: top - ROW_GAP / 2, y2: top - ROW_GAP / 2, class: "row-line" }));
  }
  for (const tick of scale.ticks) {
    lines.append(draw("line", { x1: scale.at(tick), x2: scale.at(tick), y1: 0, y2: top, class: "tick" }));
    plot.append(draw("text", { x: scale.at(tick), y: top + 14, "text-anchor": "middle", class: "quiet" }, String(tick)));
  }
  const text = "Dot plot of the scores; the table below has the same numbers.";
  return draw("svg", { viewBox: `0 0 ${width} ${top + 20}`, width, role: "img", "aria-label": text }, lines, plot);
}

/** One side's or paper's value: letter, interval, mark, number. */
function laneOf([mean, half], place, letters, papers, scale, y, lettersAt, right) {
  const paper = place >= letters.length, number = place - letters.length + 1;
  const said = mean.toFixed(1) + (half === null ? "" : ` ± ${half.toFixed(1)}`);
  const lane = draw("g", { class: paper ? "lane paper" : `lane side-${place}` });
  lane.append(draw("title", {}, `${paper ? papers[number - 1] : letters[place]}: ${said}`));
  lane.append(draw("text", { x: lettersAt, y: y + 4 }, paper ? `p${number}` : letters[place]));
  if (half !== null) {
    const [from, to] = [mean - half, mean + half].map(scale.at);
    lane.append(draw("path", { d: `M${from} ${y}H${to}M${from} ${y - 4}V${y + 4}M${to} ${y - 4}V${y + 4}`, class: "interval", fill: "none" }));
  }
  if (paper) lane.append(draw("circle", { cx: scale.at(mean), cy: y, r: 4.5, class: "point" }));
  else lane.append(draw("use", { href: `#mark-${place}`, transform: `translate(${scale.at(mean)} ${y}) scale(0.85)` }));
  lane.append(draw("text", { x: right + 14, y: y + 4, class: "value" }, said));
  return lane;
}

/** Where a score stands between two edges, and ticks; the ends are ticks too. */
function scaleOf(values, left, right) {
  const there = values.filter(([mean]) => mean !== null);
  const low = Math.max(Math.min(...there.map(([mean, half]) => mean - (half ?? 0))), 0);
  const high = Math.min(Math.max(...there.map(([mean, half]) => mean + (half ?? 0))), 100);
  const step = niceStep(Math.max(high - low, 1), right - left > 400 ? 8 : 4);
  const from = Math.floor(low / step + 1e-9) * step, to = Math.max(Math.ceil(high / step - 1e-9) * step, from + step);
  const count = Math.round((to - from) / step);
  const ticks = Array.from({ length: count + 1 }, (_, i) => Number((from + i * step).toFixed(6)));
  // An interval may reach beyond 0 or 100, where no score can be.
  const at = (score) => left + ((Math.min(Math.max(score, from), to) - from) / (to - from)) * (right - left);
  return { at, ticks };
}

/** A text in lines of at most so many letters, as far as its words allow. */
function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length > most && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

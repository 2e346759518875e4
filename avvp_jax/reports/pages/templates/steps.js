// Probabilities over time as steps, and ticks for a span of time.

/**
 * The values over a visible span as steps [{left, right, value}] in pixels, in order. Segments
 * that are narrower than a pixel are joined: of each column of pixels the highest counts.
 */
function stepsOf(values, video, [from, to], width) {
  const scale = width / (to - from), narrow = video.seconds * scale < 1, found = [];
  const first = Math.max(0, Math.floor(from / video.seconds));
  const last = Math.min(values.length, Math.ceil(to / video.seconds));
  for (let at = first; at < last; at++) {
    let left = (at * video.seconds - from) * scale, right = left + video.seconds * scale;
    if (narrow) [left, right] = [Math.floor(left), Math.floor(left) + 1];
    else right = Math.min(right, (video.length - from) * scale);
    const before = found.at(-1);
    if (narrow && before?.left === left) before.value = Math.max(before.value, values[at]);
    else found.push({ left, right, value: values[at] });
  }
  return found;
}

/**
 * Where bars of a modality's events, in the order of onset, are in pixels: [left, right]. What
 * overlaps, or has less than a pixel between, is one.
 */
function barsOf(events, modality, [from, to], width) {
  const scale = width / (to - from), found = [];
  for (const { modality: own, onset, offset } of events) {
    if (own !== modality || offset <= from || onset >= to) continue;
    const left = Math.max((onset - from) * scale, -2), right = Math.min((offset - from) * scale - 1, width + 2), before = found.at(-1);
    if (before && left < before[1] + (scale < 1 ? 1 : 0)) before[1] = Math.max(before[1], right);
    else found.push([left, Math.max(right, left + 2)]);
  }
  return found;
}

const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000, 86400];

/** The times of ticks in a span, about one in `apart` pixels. */
function ticksIn([from, to], width, apart = 80) {
  const wanted = ((to - from) * apart) / width;
  const step = TICKS.find((each) => each >= wanted) ?? niceStep(to - from, width / apart);
  const found = [];
  for (let at = Math.ceil(from / step - 1e-9); at * step <= to + 1e-9; at++) found.push(at * step);
  return found;
}

/** A canvas as large as its place on the page, in the device's pixels; cleared. */
function cleared(canvas, finer = 1) {
  const ratio = (window.devicePixelRatio || 1) * finer, width = canvas.clientWidth, height = canvas.clientHeight;
  const context = canvas.getContext("2d");
  canvas.width = Math.round(width * ratio); // which also clears it
  canvas.height = Math.round(height * ratio);
  context.scale(ratio, ratio);
  return { context, width, height };
}

/** Oblique lines for bars of what is seen. */
function hatched(context, ground, line) {
  const tile = make("canvas", { width: 12, height: 12 }), pen = tile.getContext("2d");
  pen.fillStyle = ground;
  pen.fillRect(0, 0, 12, 12);
  pen.strokeStyle = line;
  pen.lineWidth = 4;
  pen.beginPath();
  for (const shift of [-12, 0, 12]) {
    pen.moveTo(shift - 2, 14);
    pen.lineTo(shift + 14, -2);
  }
  pen.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(0.5));
  return pattern;
}

// What is heard and seen in a video, on one time axis: a row for each class that is found.

const BAR = 6; // pixels of the bars beside a row's middle line
const FLAT = 0.8; // pixels of steps that are not drawn
const COLOURS = ["ground", "ink", "quiet", "line", "accent", "audio", "visual", "audio-faint", "visual-faint"];

/**
 * The timeline of one video after the other. Rows show what is heard above a middle line and what
 * is seen below it. Only rows near the window and only the visible span are drawn.
 */
class Timeline {
  /** place: an element to fill; seek: called with a time that the user points at. */
  constructor(place, seek) {
    this.place = place;
    this.seek = seek;
    this.rows = [];
    this.time = 0;
    this.axis = make("canvas", { class: "axis-canvas", "aria-hidden": true });
    this.list = make("ul", { class: "rows", "aria-label": "Classes found, by their first time" });
    this.cursor = make("div", { class: "cursor" });
    const range = { role: "slider", tabindex: 0, "aria-label": "Visible span of time", "aria-valuemin": 0 };
    this.overview = make("canvas", { class: "overview", ...range });
    place.append(make("div", { class: "axis-row" }, this.axis), this.list, make("div", { class: "axis-row" }, this.overview), this.cursor);
    this.near = new IntersectionObserver((seen) => this.noteNear(seen), { rootMargin: "300px" });
    new ResizeObserver(() => this.draw()).observe(this.axis);
    addGestures(this);
    whenDrawn(() => this.restyle());
    addEventListener("beforeprint", () => this.restyle(true));
    addEventListener("afterprint", () => this.restyle(false));
  }

  /** Shows another video, or the same at another threshold. */
  show(video, events, threshold) {
    if (this.video !== video) {
      this.strengths = new Map();
      this.span = [0, video.length];
    }
    Object.assign(this, { video, events, threshold });
    const places = new Map();
    for (const event of events) {
      if (!places.has(event.place)) places.set(event.place, []);
      places.get(event.place).push(event);
    }
    this.near.disconnect();
    this.rows = [...places].map(([place, found]) => this.row(place, found));
    this.list.replaceChildren(...this.rows.map((row) => row.element));
    for (const row of this.rows) this.near.observe(row.canvas);
    this.draw();
  }

  row(place, events) {
    const canvas = make("canvas", { "aria-hidden": true });
    const told = MODALITIES.map((modality) => inWords(SAYS[modality], events.filter((event) => event.modality === modality)));
    const name = make("span", { class: "name", title: shownName(this.video.said[place]) }, named(this.video.said[place]));
    const element = make("li", { class: "row" }, name, make("span", { class: "unseen" }, `: ${told.join("; ")}`), canvas);
    return { place, events, canvas, element, near: false };
  }

  noteNear(seen) {
    const rows = new Map(this.rows.map((row) => [row.canvas, row]));
    for (const { target, isIntersecting } of seen) if (rows.has(target)) rows.get(target).near = isIntersecting;
    this.draw();
  }

  /** Takes the colours of the page as it looks now; on paper, all rows and all of the time. */
  restyle(printing = matchMedia("print").matches) {
    this.printing = printing;
    const root = document.documentElement, theme = root.dataset.theme;
    if (printing) root.dataset.theme = "light"; // paper is white, also before styles know of it
    this.colours = Object.fromEntries(COLOURS.map((name) => [name, colour(name)]));
    if (printing && theme) root.dataset.theme = theme;
    else if (printing) delete root.dataset.theme;
    this.hatch = hatched(this.axis.getContext("2d"), this.colours["visual-faint"], this.colours.visual);
    if (this.video) this.drawNow();
  }

  /** Draws before the next frame, however often it is called until then. */
  draw() {
    this.waiting ??= requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    if (this.waiting) cancelAnimationFrame(this.waiting);
    this.waiting = null;
    if (!this.video) return;
    this.shown = this.printing ? [0, this.video.length] : this.span;
    this.ticks = ticksIn(this.shown, this.axis.clientWidth || 1);
    this.drawAxis();
    for (const row of this.rows) if (row.near || this.printing) this.drawRow(row);
    this.drawOverview();
    this.placeCursor();
  }

  x(time, width) {
    return ((time - this.shown[0]) / (this.shown[1] - this.shown[0])) * width;
  }

  drawAxis() {
    const { context, width, height } = cleared(this.axis, this.printing ? 2 : 1);
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    for (const time of this.ticks) {
      const x = this.x(time, width), label = clock(time), half = context.measureText(label).width / 2;
      context.fillStyle = this.colours.line;
      context.fillRect(x, height - 5, 1, 5);
      context.fillStyle = this.colours.quiet;
      context.fillText(label, Math.min(Math.max(x - half, 0), width - 2 * half), height - 9);
    }
  }

  drawRow(row) {
    const { context, width, height } = cleared(row.canvas, this.printing ? 2 : 1), middle = height / 2;
    context.fillStyle = this.colours.line;
    for (const time of this.ticks) context.fillRect(this.x(time, width), 0, 1, height);
    for (const modality of MODALITIES) {
      const way = modality === "audio" ? -1 : 1, base = middle + way * (BAR + 3), tall = height / 2 - BAR - 5;
      this.drawSteps(context, this.strengthsOf(row.place, modality), modality, base, way * tall, width);
      if (this.threshold === null) continue; // then no one line is right for all classes
      const level = Math.round(base + (way * tall * this.threshold) / STEPS) + 0.5;
      this.drawLevel(context, level, width);
    }
    context.fillStyle = this.colours.quiet;
    context.fillRect(0, middle - 0.5, width, 1);
    this.drawBars(context, "audio", row.events, this.shown, middle - BAR - 2, BAR, width);
    this.drawBars(context, "visual", row.events, this.shown, middle + 2.5, BAR - 1, width);
  }

  drawLevel(context, level, width) {
    context.save();
    context.strokeStyle = this.colours.quiet;
    context.globalAlpha = 0.6;
    context.setLineDash([3, 4]);
    context.beginPath();
    context.moveTo(0, level);
    context.lineTo(width, level);
    context.stroke();
    context.restore();
  }

  strengthsOf(place, modality) {
    const key = `${place} ${modality}`;
    if (!this.strengths.has(key)) this.strengths.set(key, this.video.strengths(place, modality));
    return this.strengths.get(key);
  }

  /** Steps as an area with an outline; nothing where a class is all but impossible. */
  drawSteps(context, values, modality, base, tall, width) {
    const path = new Path2D();
    let end = null;
    for (const { left, right, value } of stepsOf(values, this.video, this.shown, width)) {
      const height = (tall * value) / STEPS, flat = Math.abs(height) < FLAT;
      if (end !== null && flat) path.lineTo(end, base);
      if (end === null && !flat) path.moveTo(left, base);
      end = flat ? null : right;
      if (flat) continue;
      path.lineTo(left, base + height);
      path.lineTo(right, base + height);
    }
    if (end !== null) path.lineTo(end, base);
    context.fillStyle = this.colours[`${modality}-faint`];
    context.fill(path);
    context.strokeStyle = this.colours[modality];
    context.lineWidth = 1;
    context.stroke(path);
  }

  /** Bars of events in the order of onset: solid for what is heard, hatched for what is seen. */
  drawBars(context, modality, events, span, top, height, width) {
    const path = new Path2D();
    for (const [left, right] of barsOf(events, modality, span, width)) path.rect(left, top, right - left, height);
    context.fillStyle = modality === "audio" ? this.colours.audio : this.hatch;
    context.fill(path);
    if (modality === "audio") return;
    context.strokeStyle = this.colours.visual;
    context.lineWidth = 1;
    context.stroke(path);
  }

  /** All of the time, with a frame around what the rows show. */
  drawOverview() {
    const { context, width, height } = cleared(this.overview), [from, to] = this.span, all = this.video.length;
    context.fillStyle = this.colours.line;
    context.fillRect(0, height / 2 - 0.5, width, 1);
    this.drawBars(context, "audio", this.events, [0, all], 5, height / 2 - 7, width);
    this.drawBars(context, "visual", this.events, [0, all], height / 2 + 2.5, height / 2 - 8, width);
    context.strokeStyle = this.colours.accent;
    context.lineWidth = 2;
    context.strokeRect((from / all) * width + 1, 1, Math.max(((to - from) / all) * width - 2, 4), height - 2);
    const said = { "aria-valuemax": Math.round(all), "aria-valuenow": Math.round(from), "aria-valuetext": `${clock(from)} to ${clock(to)}` };
    for (const [name, value] of Object.entries(said)) this.overview.setAttribute(name, value);
  }

  /** Moves the cursor; where it leaves the visible span, that follows. */
  moveTo(time) {
    this.time = time;
    const [from, to] = this.span ?? [0, 0], visible = to - from;
    if (this.video && !this.held && (time < from || time >= to) && visible < this.video.length) this.moveSpan(time - 0.1 * visible);
    this.placeCursor();
  }

  placeCursor() {
    if (!this.shown) return;
    const x = this.x(this.time, this.axis.clientWidth), hidden = x < -1 || x > this.axis.clientWidth + 1;
    this.cursor.hidden = hidden;
    this.cursor.style.transform = `translateX(${this.axis.offsetLeft + x}px)`;
    this.cursor.style.height = `${this.list.offsetTop + this.list.offsetHeight}px`;
  }

  /** Lets the visible span begin at a time. */
  moveSpan(from) {
    const visible = this.span[1] - this.span[0], begin = Math.min(Math.max(from, 0), this.video.length - visible);
    this.span = [begin, begin + visible];
    this.draw();
  }

  /** Shows a part of what is visible, or more, around a time that keeps its place. */
  zoom(factor, around = this.time) {
    if (!this.video) return;
    const [from, to] = this.span, all = this.video.length, centre = around >= from && around <= to ? around : (from + to) / 2;
    const least = Math.min(all, Math.max(2 * this.video.seconds, 1));
    const visible = Math.min(Math.max((to - from) / factor, least), all);
    this.span = [0, visible];
    this.moveSpan(centre - ((centre - from) / (to - from)) * visible);
  }
}

/** Events of a modality as a reader of screens says them. */
function inWords(says, events) {
  if (!events.length) return `not ${says}`;
  const times = events.slice(0, 5).map(({ onset, offset }) => `${clock(onset)} to ${clock(offset)}`);
  return `${says} ${times.join(", ")}${events.length > 5 ? `, and ${events.length - 5} times more` : ""}`;
}

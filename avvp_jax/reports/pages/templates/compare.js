// Several work directories side by side: dots of scores, bars of classes, timelines of videos.

/** Calls with the width of an element, at once and whenever that changes. */
function whenSized(element, redraw) {
  let before = 0;
  const observer = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width && width !== before) redraw((before = width));
  });
  observer.observe(element);
}

for (const place of document.querySelectorAll(".dots")) {
  const { rows } = data.groups[place.dataset.group];
  const papers = rows[0].values.some(([mean], i) => i >= data.letters.length && mean !== null) ? data.papers : [];
  const key = papers.map((paper, i) => make("li", { class: "note" }, `p${i + 1}: ${paper}`));
  if (key.length) place.after(make("ul", { class: "notes" }, key));
  whenSized(place, (width) => place.replaceChildren(scoreDots(rows, data.letters, papers, width)));
}

/** The bars of how much better one side finds each class than another; data.compared has their places. */
function classBars(other, reference) {
  const found = data.classes.map((row) => ({ ...row, gain: gainOf(row.scores[other], row.scores[reference]) }));
  const rows = found.filter(({ gain }) => gain !== null).sort((a, b) => Math.abs(b.gain) - Math.abs(a.gain));
  const largest = Math.max(1, ...rows.map(({ gain }) => Math.abs(gain)));
  const list = make("ol", { class: "bars" }, rows.map((row) => barOf(row, largest, other, reference)));
  document.getElementById("class-bars").replaceChildren(list);
  const [one, two] = [other, reference].map(letterOf);
  document.getElementById("class-caption").textContent =
    `Bars to the right: ${one} finds the class better than ${two}; hatched bars to the left: worse. The longest is ` +
    `${largest.toFixed(1)} points. Largest differences come first.` +
    (rows.length < found.length ? ` ${found.length - rows.length} rows of classes that one of them has no score for are left out.` : "");
}

/** The difference of two scores, null where one is missing. */
function gainOf(score, before) {
  return score === null || before === null ? null : score - before;
}

/** One class: its name, its bar left or right of zero, the difference, and how often it occurs. */
function barOf({ name, how, gain, scores, videos, segments }, largest, other, reference) {
  const length = (100 * Math.abs(gain)) / largest;
  const bar = draw("rect", { x: gain < 0 ? 100 - length : 100, y: 3, width: length, height: 14, class: gain < 0 ? "less" : "more" });
  const zero = draw("line", { x1: 100, x2: 100, y1: 0, y2: 20, class: "zero" });
  const often = segments === null ? `in ${videos} videos` : `${segments} segments in ${videos} videos`;
  const pair = `${letterOf(reference)} ${scores[reference].toFixed(1)}, ${letterOf(other)} ${scores[other].toFixed(1)}`;
  const said = (gain < 0 ? "\u2212" : "+") + Math.abs(gain).toFixed(1);
  return make("li", {},
    make("span", { class: "class-name", title: name }, make("span", { class: "quiet" }, `${how}: `), make("bdi", {}, name)),
    draw("svg", { viewBox: "0 0 200 20", preserveAspectRatio: "none", "aria-hidden": true }, bar, zero),
    make("span", { class: "gain" }, gain === 0 ? "0.0" : said),
    make("span", { class: "often" }, `${pair}; ${often}`));
}

/** The letter of one of those whose classes are compared. */
function letterOf(place) {
  return data.letters[data.compared[place]];
}

/** Fills the two selects, and draws what they choose. */
function chooseClasses() {
  const [other, reference] = ["other", "reference"].map((id) => document.getElementById(id));
  for (const select of [other, reference]) {
    select.append(...data.compared.map((side, place) => make("option", { value: place }, `${data.letters[side]} ${shortened(data.names[side], 40)}`)));
    select.addEventListener("change", () => classBars(Number(other.value), Number(reference.value)));
  }
  other.value = 1;
  classBars(1, 0);
}

/** A text of at most so many letters. */
function shortened(text, most) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

if (data.compared) chooseClasses();

let details;
for (const each of document.querySelectorAll("details[data-video]")) {
  each.addEventListener("toggle", async () => {
    const place = each.querySelector(".timelines");
    if (!each.open || place.hasChildNodes()) return;
    details ??= unpackJson("details");
    const { rows, segments, seconds } = (await details)[each.dataset.video];
    if (!rows.length) return place.replaceChildren(make("p", {}, "Nothing is annotated, and nothing found."));
    const short = rows.map((row) => ({ ...row, label: shortened(row.label, 60) }));
    whenSized(place, (width) => place.replaceChildren(strips(short, segments, seconds, Math.max(width, 300))));
  });
}

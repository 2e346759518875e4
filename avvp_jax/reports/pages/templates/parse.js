// The page of parsed videos: puts list, player, timeline, threshold and table together.

const MOST_ROWS = 300; // of the table of events, until more are asked for
const at = (id) => document.getElementById(id);
const buffer = (await unpack("codes")).buffer;
const videos = data.videos.map((entry) => new ParsedVideo(entry, buffer));
let current = null, threshold = null, allRows = false; // a threshold of null: as the model decides

const player = new Player(at("player"), at("unplayable"), whenMoved);
const timeline = new Timeline(at("timeline"), (time) => player.seek(time));
const list = new VideoList(videos, () => threshold, open);

/** Shows a video. */
function open(video) {
  current = video;
  allRows = false;
  at("title").replaceChildren(named(video.title));
  at("remarks").replaceChildren(...[...video.remarks.map(capital), ...linkedNote(video)].map((text) => make("li", { dir: "auto" }, text)));
  at("facts").replaceChildren(...video.facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", { dir: "auto" }, text)]));
  player.open(video);
  showEvents();
  whenMoved();
}

function capital(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function linkedNote(video) {
  return data.embedding && !video.media ? ["This video is not part of the page: it is played from where it is on this machine."] : [];
}

/** Shows the events of the video at the threshold. */
function showEvents() {
  const events = current.events(threshold);
  timeline.show(current, events, threshold);
  at("none").hidden = events.length > 0;
  const shown = allRows ? events : events.slice(0, MOST_ROWS);
  at("events").tBodies[0].replaceChildren(...shown.map(eventRow));
  const heard = events.filter((event) => event.modality === "audio").length;
  const where = threshold === null ? "by the model's own thresholds" : `where probabilities reach ${(threshold / STEPS).toFixed(2)}`;
  at("counted").textContent = `${heard} heard, ${events.length - heard} seen, ${where}.`;
  at("more").hidden = shown.length === events.length;
  at("more").textContent = `Show all ${events.length} events`;
}

function eventRow(event) {
  const spoken = `Go to ${clock(event.onset)}, ${SAYS[event.modality]}: ${shownName(event.said)}`;
  const go = make("button", { type: "button", class: "go", "aria-label": spoken, click: () => player.seek(event.onset) }, clock(event.onset));
  const cells = [clock(event.offset), `${Math.round(100 * event.mean)}%`].map((text) => make("td", {}, text));
  return make("tr", {}, make("td", { class: event.modality }, SAYS[event.modality]), make("th", { scope: "row" }, named(event.said)), make("td", {}, go), ...cells);
}

at("more").addEventListener("click", () => {
  allRows = true;
  showEvents();
});

/** Follows the player. */
function whenMoved() {
  if (!current) return;
  timeline.moveTo(player.time);
  at("now").textContent = `${clock(Math.floor(player.time * 10) / 10)} of ${clock(current.length)}`;
  at("play").textContent = player.playing ? "Pause" : "Play";
}

/** Another threshold, or null: bars follow at once, the list when the slider rests. */
function setThreshold(value) {
  threshold = value === null ? null : Math.round(Number(value) * STEPS);
  const text = threshold === null ? "the model's own" : (threshold / STEPS).toFixed(2);
  const meant = threshold === null ? text : `${text}: events where probabilities reach ${Math.round(threshold / 100)}%`;
  at("threshold").value = threshold === null ? 0.5 : text;
  at("threshold").setAttribute("aria-valuetext", meant);
  at("threshold-number").textContent = text;
  if (!current) return;
  showEvents();
  clearTimeout(setThreshold.waiting);
  setThreshold.waiting = setTimeout(() => list.refresh(), 200);
}

at("threshold").addEventListener("input", (event) => setThreshold(event.target.value));
at("reset").addEventListener("click", () => setThreshold(data.threshold));

const step = (seconds) => player.seek(player.time + seconds);
const actions = {
  play: () => player.toggle(),
  back: () => step(-1),
  forward: () => step(1),
  "zoom-in": () => timeline.zoom(2),
  "zoom-out": () => timeline.zoom(0.5),
  whole: () => timeline.zoom(0),
};
for (const [id, act] of Object.entries(actions)) at(id).addEventListener("click", act);

for (const button of document.querySelectorAll("[data-ending]")) {
  button.addEventListener("click", () => {
    const [type, text] = textsOf(current, current.events(threshold), threshold)[button.dataset.ending];
    download(`${safeName(current.file)}.${button.dataset.ending}`, type, text);
  });
}

/** Keys for the whole page, but for those that whatever has the focus needs itself. */
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, video, summary, [role=listbox], [role=slider], [contenteditable]")) return;
  if (event.key === " " && event.target.closest("button, a")) return;
  const far = event.shiftKey ? 10 : 1;
  const keys = {
    " ": actions.play,
    ArrowLeft: () => step(-far),
    ArrowRight: () => step(far),
    Home: () => player.seek(0),
    End: () => player.seek(current.length),
    "+": actions["zoom-in"],
    "=": actions["zoom-in"],
    "-": actions["zoom-out"],
    0: actions.whole,
  };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

at("about").open = matchMedia("(min-width: 62rem)").matches; // where there is room beside the player
setThreshold(data.threshold);
list.refresh();
list.choose(0);
globalThis.parsed = { videos, player, timeline, list, textsOf }; // for tests, and for those who look from the console

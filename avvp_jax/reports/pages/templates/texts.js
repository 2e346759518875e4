// The events of a video as the texts that people take away, equal to those of reports/parses.py;
// but probabilities in json are of codes, which may be lower by 0.0001.

/** What is downloaded of a video: ending -> [type, text]. */
function textsOf(video, events, threshold) {
  return {
    csv: ["text/tab-separated-values", lines(tableOf(video, events))],
    json: ["application/json", lines([JSON.stringify(recordOf(video, events, threshold), null, 2)])],
    vtt: ["text/vtt", lines(subtitlesOf(video, events))],
    "labels.txt": ["text/plain", lines(labelsOf(video, events))],
  };
}

function lines(texts) {
  return texts.map((text) => `${text}\n`).join("");
}

/** Rows with tabs between, like events_audio.csv, with the modality at the end. */
function tableOf(video, events) {
  const rows = events.map((event) => [video.name, short(event.onset), short(event.offset), event.label, event.modality]);
  return [["filename", "onset", "offset", "event_labels", "modality"], ...rows].map((cells) => cells.map(quoted).join("\t"));
}

/** A cell as csv_line writes it: in quotes where it holds a tab, a quote or the end of a line. */
function quoted(cell) {
  return /[\t"\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** A number in ten digits at most. */
function short(number) {
  return String(Number(number.toPrecision(10)));
}

function recordOf(video, events, threshold) {
  const rounded = (probability) => Math.round(probability * STEPS) / STEPS;
  return {
    video: video.name,
    duration: video.duration,
    segment_seconds: video.seconds,
    segments: video.segments,
    zero_shot: video.zeroShot,
    remarks: video.remarks,
    threshold: threshold === null ? null : threshold / STEPS,
    events: events.map(({ modality, label, onset, offset, mean, peak }) => ({
      modality, class: label, onset, offset, mean_probability: rounded(mean), peak_probability: rounded(peak),
    })),
  };
}

function subtitlesOf(video, events) {
  const note = video.zeroShot ? ["NOTE zero-shot: by teachers, without a trained parser", ""] : [];
  const cue = (event) => [`${cueTime(event.onset)} --> ${cueTime(event.offset)}`, escaped(words(video, event)), ""];
  return ["WEBVTT", "", ...note, ...events.flatMap(cue)];
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function cueTime(seconds) {
  const all = halfToEven(1000 * seconds), pad = (number, digits) => String(number).padStart(digits, "0");
  const [hours, minutes] = [Math.floor(all / 3_600_000), Math.floor(all / 60_000) % 60];
  return `${pad(hours, 2)}:${pad(minutes, 2)}:${pad(Math.floor(all / 1000) % 60, 2)}.${pad(all % 1000, 3)}`;
}

/** The nearest whole number, of two the even one, as Python rounds. */
function halfToEven(number) {
  const below = Math.floor(number), rest = number - below;
  return rest === 0.5 ? below + (below % 2) : Math.round(number);
}

/** A label track of Audacity. */
function labelsOf(video, events) {
  return events.map((event) => `${event.onset.toFixed(6)}\t${event.offset.toFixed(6)}\t${words(video, event)}`);
}

/** An event in words, as Parse.says. */
function words(video, event) {
  return `${SAYS[event.modality]}: ${event.said}${video.zeroShot ? " (zero-shot)" : ""}`;
}

/** A file name without what systems do not take, what hides, and what would reorder it. */
function safeName(text) {
  const name = text.replace(/[\\/:*?"<>|\p{C}\u2028\u2029]/gu, "_").replace(/^[.\s~]+/, "_").replace(/[.\s]+$/, "_");
  return [...name].slice(0, 120).join("") || "video";
}

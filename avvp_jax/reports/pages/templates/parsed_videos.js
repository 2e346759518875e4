// Parsed videos: their probabilities, and the events that a threshold makes of them.

const MODALITIES = ["audio", "visual"], SAYS = { audio: "heard", visual: "seen" };
const STEPS = 10_000; // of a code, see codes.py

class ParsedVideo {
  /** buffer: that of all codes of the page. */
  constructor(entry, buffer) {
    Object.assign(this, entry);
    this.length = entry.duration || entry.segments * entry.seconds; // of the time axis
    const { names, said } = data.classes[entry.classes];
    this.labels = entry.kept.map((index) => names[index]);
    this.said = entry.kept.map((index) => said[index]);
    this.codes = new Uint16Array(buffer, entry.at, entry.kept.length * 4 * entry.segments);
  }

  /** Codes of a class (by its place among the kept) in a modality: of segments, of the video around each. */
  lane(place, modality) {
    const start = (place * 2 + MODALITIES.indexOf(modality)) * 2 * this.segments, middle = start + this.segments;
    return { frame: this.codes.subarray(start, middle), whole: this.codes.subarray(middle, middle + this.segments) };
  }

  /** What must reach the threshold in each segment: the lower of the two codes. */
  strengths(place, modality) {
    const { frame, whole } = this.lane(place, modality);
    return frame.map((code, at) => Math.min(code, whole[at]));
  }

  /** The time of a boundary between segments, as Task.time rounds it. */
  time(boundary) {
    return Number((boundary * this.seconds).toFixed(9));
  }

  /** What a segment's own code and that of its video must reach; without a threshold, as the model decides. */
  limits(place, modality, threshold) {
    if (threshold !== null) return [threshold, threshold];
    return this.decided ? this.decided[MODALITIES.indexOf(modality)][place] : [STEPS / 2, STEPS / 2];
  }

  /**
   * The events at a threshold (a code, or null: as the model decides), in the order of
   * Parse.events. A segment is active where its own probability and that of the video reach the
   * threshold; an event is a run of such.
   */
  events(threshold) {
    if (this.threshold === threshold) return this.found;
    const found = [];
    for (const modality of MODALITIES)
      for (let place = 0; place < this.labels.length; place++) this.addRuns(found, place, modality, threshold);
    found.sort((one, other) => one.onset - other.onset);
    [this.threshold, this.found] = [threshold, found];
    return found;
  }

  addRuns(found, place, modality, threshold) {
    const { frame, whole } = this.lane(place, modality), [own, around] = this.limits(place, modality, threshold);
    let first = -1;
    for (let at = 0; at <= this.segments; at++) {
      const active = at < this.segments && frame[at] >= own && whole[at] >= around;
      if (active && first < 0) first = at;
      if (active || first < 0) continue;
      found.push(this.event(place, modality, first, at, frame));
      first = -1;
    }
  }

  event(place, modality, first, last, frame) {
    let sum = 0, peak = 0;
    for (let at = first; at < last; at++) {
      sum += frame[at];
      peak = Math.max(peak, frame[at]);
    }
    const times = { onset: this.time(first), offset: Math.min(this.time(last), this.duration) };
    const names = { modality, place, label: this.labels[place], said: this.said[place] };
    return { ...names, ...times, mean: sum / (last - first) / STEPS, peak: peak / STEPS };
  }

  /** Whether it lacks a picture. */
  get soundOnly() {
    return this.remarks.some((remark) => remark.startsWith("no picture:"));
  }
}

/** A name for people: without underscores, and never one that cannot be seen. */
function shownName(text) {
  const name = text.replaceAll("_", " ").trim();
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(name) ? name : "(a blank name)";
}

/** A name in an element of its own, so that its direction of writing stays its own. */
function named(text, attributes = {}) {
  return make("bdi", attributes, shownName(text));
}

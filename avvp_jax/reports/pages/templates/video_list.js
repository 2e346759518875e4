// The list of videos: search by name, class and modality; chosen by keys or a click.

const MOST_LISTED = 2000; // so that a search stays quick

class VideoList {
  /** videos: ParsedVideo; threshold: gives the present one; chosen: called with the video that the user wants. */
  constructor(videos, threshold, chosen) {
    Object.assign(this, { videos, threshold, chosen, matches: [] });
    [this.search, this.ofClass, this.modality, this.box, this.said] = ["search", "of-class", "of-modality", "videos", "matches"].map((id) => document.getElementById(id));
    const names = new Set(videos.flatMap((video) => video.said));
    const options = [...names].map((name) => [shownName(name), name]).sort(([one], [other]) => one.localeCompare(other));
    this.ofClass.append(...options.map(([shown, name]) => make("option", { value: name }, shown)));
    for (const input of [this.search, this.ofClass, this.modality]) input.addEventListener("input", () => this.refresh());
    this.box.addEventListener("click", (event) => this.choose(Number(event.target.closest("[role=option]")?.dataset.at ?? -1)));
    this.box.addEventListener("keydown", (event) => this.moveBy(event));
  }

  /** Lists what matches at the present threshold. */
  refresh() {
    const wanted = this.search.value.trim().toLowerCase(), code = this.threshold();
    this.matches = [];
    for (const video of this.videos) {
      if (wanted && !video.title.toLowerCase().includes(wanted)) continue;
      const events = video.events(code);
      if (this.filters && !events.some((event) => this.fits(event))) continue;
      this.matches.push(video);
    }
    this.box.replaceChildren(...this.matches.slice(0, MOST_LISTED).map((video, at) => this.option(video, at, code)));
    const more = this.matches.length > MOST_LISTED ? `; the first ${MOST_LISTED} are listed` : "";
    this.said.textContent = `${this.matches.length} of ${this.videos.length} videos${more}`;
    this.mark();
  }

  get filters() {
    return this.ofClass.value || this.modality.value;
  }

  fits(event) {
    return (!this.ofClass.value || event.said === this.ofClass.value) && (!this.modality.value || event.modality === this.modality.value);
  }

  option(video, at, code) {
    const events = video.events(code), heard = events.filter((event) => event.modality === "audio").length;
    const told = `${clock(video.duration)} · ${heard} heard, ${events.length - heard} seen`;
    return make("li", { role: "option", id: `video-${at}`, "data-at": at, "aria-selected": "false" }, named(video.title, { class: "title" }), make("span", { class: "quiet told" }, told));
  }

  /** Marks the video that is shown. */
  mark() {
    this.box.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    const at = this.matches.indexOf(this.current), option = this.box.children[at];
    if (!option) {
      this.box.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    this.box.setAttribute("aria-activedescendant", option.id);
    const { top, bottom } = option.getBoundingClientRect(), box = this.box.getBoundingClientRect();
    if (top < box.top) this.box.scrollTop -= box.top - top;
    if (bottom > box.bottom) this.box.scrollTop += bottom - box.bottom;
  }

  choose(at) {
    const listed = Math.min(this.matches.length, MOST_LISTED);
    if (!(at >= 0 && at < listed)) return;
    this.current = this.matches[at];
    this.mark();
    this.chosen(this.current);
  }

  moveBy(event) {
    const at = this.matches.indexOf(this.current), last = Math.min(this.matches.length, MOST_LISTED) - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(Math.min(Math.max(to, 0), last));
  }
}

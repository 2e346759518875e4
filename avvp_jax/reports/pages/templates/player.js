// The player of a video; and, where a browser cannot play it, a clock that runs without it.

class Player {
  /** element: <video>; told: where sentences go; moved: called whenever time or state change. */
  constructor(element, told, moved) {
    Object.assign(this, { element, told, moved, silent: true, length: 0, since: null, at: 0 });
    for (const kind of ["timeupdate", "seeking", "seeked", "play", "pause", "ended"]) element.addEventListener(kind, () => this.silent || moved());
    element.addEventListener("loadedmetadata", () => this.loaded());
    element.addEventListener("error", () => this.tryNext());
    const each = () => {
      if (this.playing) moved();
      requestAnimationFrame(each);
    };
    each();
  }

  /** Opens a video: the block in the page, else the first of its addresses that can be played. */
  open(video) {
    this.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = video.media ? URL.createObjectURL(new Blob([bytesOf(video.media[0])], { type: video.media[1] })) : null;
    Object.assign(this, { video, length: video.length, silent: true, since: null, at: 0 });
    this.waiting = [...(this.url ? [this.url] : []), ...(video.sources ?? [])];
    this.tell("");
    this.element.hidden = false;
    this.element.classList.remove("sound");
    this.tryNext();
  }

  tryNext() {
    const next = this.waiting?.shift();
    if (next) {
      this.element.src = next;
      return;
    }
    if (this.waiting === undefined) return;
    this.waiting = undefined;
    this.element.removeAttribute("src");
    this.element.hidden = true;
    this.silent = true;
    const why = this.video.sources
      ? "This browser cannot play the file: it is not where it was, or of a kind that browsers do not play, such as avi."
      : "It is not known where the file of this video is.";
    this.tell(`${why} The cursor, the keys and the buttons work all the same; time then runs without picture and sound.`);
    this.moved();
  }

  loaded() {
    this.silent = false;
    this.element.currentTime = this.at; // where the user has gone in the meantime
    if (this.since !== null) this.element.play().catch(() => this.moved());
    this.since = null;
    const sound = !this.element.videoWidth;
    this.element.classList.toggle("sound", sound);
    if (sound && !this.video.soundOnly) this.tell("This browser plays only the sound of the file; it does not know how its picture is coded.");
    this.moved();
  }

  tell(text) {
    this.told.textContent = text;
    this.told.hidden = !text;
  }

  get time() {
    if (!this.silent) return this.element.currentTime;
    if (this.since === null) return this.at;
    const time = this.at + (performance.now() - this.since) / 1000;
    if (time < this.length) return time;
    this.at = this.length;
    this.since = null;
    return this.at;
  }

  get playing() {
    return this.silent ? this.since !== null : !this.element.paused && !this.element.ended;
  }

  seek(time) {
    const to = Math.min(Math.max(time, 0), this.length);
    if (!this.silent) this.element.currentTime = to;
    this.at = to;
    if (this.since !== null) this.since = performance.now();
    this.moved();
  }

  play() {
    if (!this.silent) this.element.play().catch(() => this.moved());
    else {
      this.at = this.time >= this.length ? 0 : this.time;
      this.since = performance.now();
    }
    this.moved();
  }

  pause() {
    if (!this.silent) this.element.pause();
    else this.at = this.time;
    this.since = null;
    this.moved();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }
}

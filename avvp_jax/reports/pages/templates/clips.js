// Cards of clips, whose timelines and players are made when they come into view.

/** Fills cards with what unpacked details say of them, as they come into view or are printed. */
async function fillCards(cards, block) {
  const details = await unpackJson(block);
  const fill = (card) => {
    const place = card.querySelector(".drawn");
    if (place.childElementCount || place.dataset.filled) return;
    place.dataset.filled = "yes"; // also where there is nothing to draw
    const { rows, segments, seconds, player } = details[Number(card.dataset.index)];
    if (player) place.append(clipPlayer(player, segments * seconds, card.querySelector("h3").textContent));
    place.append(rows.length ? strips(rows, segments, seconds) : make("p", {}, "Nothing is found in it."));
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) fill(entry.target);
  }, { rootMargin: "300px" });
  for (const card of cards) watcher.observe(card);
  addEventListener("beforeprint", () => cards.forEach(fill));
}

/** The player of a clip; in a longer file it starts where the clip does, and stops at its end. */
function clipPlayer({ start, sources, block }, length, title) {
  const video = make("video", { controls: true, preload: "metadata", "aria-label": title });
  const problem = make("p", { class: "note", hidden: true }, "The browser cannot play this video.");
  let end = Infinity;
  video.addEventListener("loadedmetadata", () => {
    // A file as long as the clip is the clip itself, whatever its name says of a start.
    if (start > 0 && video.duration > length + 1 && video.duration > start) video.currentTime = start;
    if (video.duration > length + 1) end = (video.currentTime || 0) + length;
  });
  video.addEventListener("timeupdate", () => {
    if (video.currentTime < end) return;
    video.pause();
    end = Infinity; // whoever plays on wants to see the rest
  });
  if (block) {
    const [id, type] = block;
    video.src = URL.createObjectURL(new Blob([bytesOf(id)], { type }));
    video.addEventListener("error", () => { problem.hidden = false; });
  } else {
    const found = sources.map((src) => make("source", { src }));
    found.at(-1).addEventListener("error", () => { problem.hidden = false; });
    video.append(...found);
  }
  return make("div", {}, video, problem);
}

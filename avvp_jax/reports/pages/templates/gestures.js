// What the mouse, fingers and wheel do with a timeline.

const SIDEWAYS = 6; // pixels after which a finger scrubs

/** Click seeks, drag scrubs; two fingers or ctrl and the wheel zoom; the overview moves the visible span. */
function addGestures(timeline) {
  const timeAt = (event) => {
    const { left, width } = timeline.axis.getBoundingClientRect(), [from, to] = timeline.span;
    return Math.min(Math.max(from + ((event.clientX - left) / width) * (to - from), 0), timeline.video.length);
  };
  const fingers = new Map(), drawn = (event) => event.target.tagName === "CANVAS" && event.target !== timeline.overview;
  let start = 0, intent = null; // "seek" once it is clear; "zoom" from a second finger on until all are lifted
  const release = (event) => {
    fingers.delete(event.pointerId);
    timeline.held = fingers.size > 0;
  };
  timeline.place.addEventListener("pointerdown", (event) => {
    if (event.button || !timeline.video || !drawn(event)) return;
    fingers.set(event.pointerId, event.clientX);
    event.target.setPointerCapture(event.pointerId);
    timeline.held = true;
    start = event.clientX;
    // A finger may be about to scroll the page: it seeks once it moves sideways or is lifted.
    intent = fingers.size > 1 ? "zoom" : event.pointerType === "touch" ? null : "seek";
    if (intent === "seek") timeline.seek(timeAt(event));
  });
  timeline.place.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = apart(fingers);
    fingers.set(event.pointerId, event.clientX);
    if (intent === null && Math.abs(event.clientX - start) > SIDEWAYS) intent = "seek";
    if (intent === "seek") timeline.seek(timeAt(event));
    else if (before > 8) timeline.zoom(Math.max(apart(fingers), 8) / before, timeAt(event));
  });
  timeline.place.addEventListener("pointerup", (event) => {
    if (fingers.has(event.pointerId) && intent === null) timeline.seek(timeAt(event));
    release(event);
  });
  timeline.place.addEventListener("pointercancel", release);
  timeline.place.addEventListener("wheel", (event) => {
    if (!timeline.video) return;
    const visible = timeline.span[1] - timeline.span[0];
    if (event.ctrlKey) timeline.zoom(Math.exp(-event.deltaY / 200), timeAt(event));
    else if (event.deltaX && visible < timeline.video.length) timeline.moveSpan(timeline.span[0] + (event.deltaX / timeline.axis.clientWidth) * visible);
    else return;
    event.preventDefault();
  }, { passive: false });
  addOverviewGestures(timeline);
}

/** Pixels between two fingers. */
function apart(fingers) {
  const [one, other] = [...fingers.values()];
  return Math.abs(one - (other ?? one));
}

function addOverviewGestures(timeline) {
  const { overview } = timeline;
  const centre = (event) => {
    const { left, width } = overview.getBoundingClientRect(), visible = timeline.span[1] - timeline.span[0];
    timeline.moveSpan(((event.clientX - left) / width) * timeline.video.length - visible / 2);
  };
  overview.addEventListener("pointerdown", (event) => {
    overview.setPointerCapture(event.pointerId);
    centre(event);
  });
  overview.addEventListener("pointermove", (event) => {
    if (overview.hasPointerCapture(event.pointerId)) centre(event);
  });
  overview.addEventListener("keydown", (event) => {
    const visible = timeline.span[1] - timeline.span[0], [from] = timeline.span;
    const to = { ArrowLeft: from - visible / 4, ArrowRight: from + visible / 4, Home: 0, End: timeline.video.length }[event.key];
    if (to === undefined) return;
    timeline.moveSpan(to);
    event.preventDefault();
  });
}

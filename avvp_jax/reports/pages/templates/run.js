// The page of a run: tables to sort, videos to search, timelines that are drawn when they are seen.

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
const cards = [...document.querySelectorAll(".clip")];
if (cards.length) {
  const count = document.getElementById("video-count");
  makeSearchable(document.getElementById("video-search"), cards, (left) => { count.textContent = `${left} of ${cards.length} videos`; });
  fillCards(cards, "details");
}
makeSearchable(document.getElementById("config-search"), [...document.querySelectorAll("#config tbody tr")]);
// What is folded is printed too, but for numbers that are too many or too wide for paper.
const printed = [...document.querySelectorAll("#confusions details, #labels details, #again details")].filter((each) => !each.open);
addEventListener("beforeprint", () => printed.forEach((each) => { each.open = true; }));
addEventListener("afterprint", () => printed.forEach((each) => { each.open = false; }));

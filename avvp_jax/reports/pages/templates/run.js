// The page of a run: tables to sort, videos to search, timelines that are drawn when they are seen.

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
const cards = [...document.querySelectorAll(".clip")];
if (cards.length) {
  const count = document.getElementById("video-count");
  makeSearchable(document.getElementById("video-search"), cards, (left) => { count.textContent = `${left} of ${cards.length} videos`; });
  fillCards(cards, "details");
}
makeSearchable(document.getElementById("config-search"), [...document.querySelectorAll("#config tbody tr")]);
// What is folded is printed too.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});

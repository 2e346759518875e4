// Tables that can be sorted and searched.

/** Gives the heads of a table buttons that sort its rows: largest first, then smallest first. */
function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", click: () => sortBy(column) }, head.textContent);
    head.replaceChildren(button);
  });
  function sortBy(column) {
    const first = column ? "descending" : "ascending", other = column ? "ascending" : "descending";
    const order = heads[column].getAttribute("aria-sort") === first ? other : first;
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    body.append(...[...body.rows].sort((a, b) => sign * compared(a.cells[column], b.cells[column])));
  }
}

/** The order of two cells: by their numbers, or as text. */
function compared(a, b) {
  if (a.dataset.value !== undefined) return Number(a.dataset.value) - Number(b.dataset.value);
  return a.textContent.localeCompare(b.textContent);
}

/** Hides what does not contain the text of a search box; tells how much is left. */
function makeSearchable(box, elements, tell = () => {}) {
  const filter = () => {
    const wanted = box.value.trim().toLowerCase();
    let left = 0;
    for (const element of elements) {
      element.hidden = !element.textContent.toLowerCase().includes(wanted);
      left += !element.hidden;
    }
    tell(left);
  };
  box.addEventListener("input", filter);
  filter();
}

// A click on a column's head sorts by it, a second one the other way round; what is missing stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], original = [...body.rows];
  const unsort = () => {
    body.append(...original);
    heads.forEach(head => head.setAttribute("aria-sort", "none"));
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const values = new Map(original.map(row => {
      const cell = row.cells[column];
      return [row, "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim()];
    }));
    const missing = value => value === "" || value === "–";
    const compare = (a, b) => {
      const x = values.get(a), y = values.get(b);
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return down ? -order : order;
    };
    unsort();
    body.append(...[...original].sort(compare));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }));
  window.addEventListener("beforeprint", unsort);
}
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});

document.querySelectorAll("table.sortable th").forEach(th => th.addEventListener("click", () => {
  const body = th.closest("table").tBodies[0], at = th.cellIndex, up = th.ariaSort !== "ascending";
  const value = row => { const c = row.cells[at], v = c.dataset.value ?? c.textContent; return isNaN(v) ? v : v === "" ? null : +v; };
  for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...[...body.rows].sort((one, two) => {
    const a = value(one), b = value(two);
    if (a === null || b === null) return (a === null) - (b === null);  // what is not known stays last
    return (up ? 1 : -1) * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b));
  }));
}));

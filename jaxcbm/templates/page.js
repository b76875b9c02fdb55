// A click on a heading sorts the lines of each group by that column, a second one turns them round.
for (const heading of document.querySelectorAll(".jaxcbm .data thead th")) {
  const sort = () => {
    const up = heading.getAttribute("aria-sort") === "descending";
    const place = heading.cellIndex;
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const text = (row) => row.cells[place].textContent.trim();
    const number = (row) => parseFloat(text(row).replace("\u2212", "-"));
    const order = (a, b) => {
      const [x, y] = [number(a), number(b)];
      if (isNaN(x) && isNaN(y)) return text(a).localeCompare(text(b)) * (up ? 1 : -1);
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return up ? x - y : y - x;
    };
    for (const body of heading.closest("table").tBodies)
      body.append(...[...body.rows].filter((row) => row.className !== "group").sort(order));
  };
  heading.tabIndex = 0;
  heading.addEventListener("click", sort);
  heading.addEventListener("keydown", (event) => event.key === "Enter" && sort());
}

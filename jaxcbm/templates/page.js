const element = (name, text = "", kind = "") =>
  Object.assign(document.createElement(name), { textContent: text, className: kind });

// A button in a heading sorts the lines of each group by that column, and then turns them round.
const number = (text) => {
  const mean = text.split("\u00b1")[0].trim().replace("\u2212", "-");
  return mean ? Number(mean) : NaN;
};
const sort = (heading) => {
  const place = heading.cellIndex, table = heading.closest("table");
  const text = (row) => row.cells[place].textContent.trim();
  const bodies = [...table.tBodies].map((body) =>
    [body, [...body.rows].filter((row) => row.className !== "group")]);
  const numeric = bodies.some(([, rows]) => rows.some((row) => !isNaN(number(text(row)))));
  const now = heading.getAttribute("aria-sort");
  // The greatest number comes first, and the first word.
  const up = now ? now === "descending" : !numeric;
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const order = (a, b) => {
    const [x, y] = [number(text(a)), number(text(b))];
    if (isNaN(x) && isNaN(y)) return text(a).localeCompare(text(b)) * (up ? 1 : -1);
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return up ? x - y : y - x;
  };
  for (const [body, rows] of bodies) body.append(...rows.sort(order));
};

// A box a column, which takes it away; a page on paper has them all.
const choice = (table) => {
  const box = element("details", "", "columns"), list = element("div");
  box.append(element("summary", "Columns"), list);
  [...table.tHead.rows[0].cells].slice(1).forEach((heading, i) => {
    const label = element("label", ` ${heading.textContent}`), tick = element("input");
    Object.assign(tick, { type: "checkbox", checked: true });
    tick.addEventListener("change", () => {
      for (const row of table.rows)
        if (row.className !== "group") row.cells[i + 1].hidden = !tick.checked;
    });
    label.prepend(tick);
    list.append(label);
  });
  return box;
};

for (const table of document.querySelectorAll(".jaxcbm .data")) {
  const headings = [...table.tHead.rows[0].cells];
  if (headings.length > 4) table.parentNode.before(choice(table));
  const room = table.parentNode;
  // A table that fits needs no scrolling, so that its headings stay in sight as the page moves.
  new ResizeObserver(() => {
    const whole = table.offsetWidth <= room.clientWidth;
    room.classList.toggle("whole", whole);
    room.classList.toggle("cut", !whole);
    room.tabIndex = whole ? -1 : 0;
  }).observe(room);
  for (const heading of headings) {
    const button = element("button", heading.textContent);
    button.type = "button";
    button.addEventListener("click", () => sort(heading));
    heading.replaceChildren(button);
  }
}

// A chart says the numbers of the point that is nearest to the pointer, or that has the focus.
const said = element("p", "", "said");
said.hidden = true;
document.body.append(said);
let shown = null;
const hide = () => {
  shown?.classList.remove("shown");
  shown = null;
  said.hidden = true;
};
const show = (point) => {
  if (point === shown) return;
  hide();
  shown = point;
  point.classList.add("shown");
  said.textContent = point.getAttribute("aria-label");
  said.hidden = false;
  const at = point.getBoundingClientRect(), room = document.documentElement.clientWidth;
  const left = Math.min(at.left, room - said.offsetWidth - 8);
  const above = at.top - said.offsetHeight - 6;
  said.style.left = `${Math.max(left, 8) + scrollX}px`;
  said.style.top = `${(above < 0 ? at.bottom + 6 : above) + scrollY}px`;
};
const nearest = (points, distance) =>
  points.reduce((best, point) => (distance(point) < distance(best) ? point : best));

for (const chart of document.querySelectorAll(".jaxcbm .points")) {
  const points = [...chart.children], svg = chart.ownerSVGElement;
  const place = (point) => [point.cx.baseVal.value, point.cy.baseVal.value];
  points.forEach((point, i) => {
    // Else a browser would say it a second time.
    point.setAttribute("aria-label", point.textContent);
    point.replaceChildren();
    point.setAttribute("tabindex", i ? -1 : 0);
    point.addEventListener("focus", () => show(point));
    point.addEventListener("blur", hide);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    show(nearest(points, (point) => Math.hypot(place(point)[0] - x, place(point)[1] - y)));
  });
  // Left and right go along, up and down to what is drawn above and below.
  chart.addEventListener("keydown", (event) => {
    const now = event.target, i = points.indexOf(now), [x, y] = place(now);
    const over = points.filter((point) => Math.abs(place(point)[0] - x) < 1 && point !== now);
    const beyond = (sign) => over.filter((point) => sign * (place(point)[1] - y) > 0);
    const next = (found) => found.length && nearest(found, (p) => Math.abs(place(p)[1] - y));
    const moves = {
      ArrowLeft: () => points[i - 1],
      ArrowRight: () => points[i + 1],
      ArrowUp: () => next(beyond(-1)),
      ArrowDown: () => next(beyond(1)),
    };
    const to = moves[event.key]?.();
    if (!(event.key in moves)) return;
    event.preventDefault();
    if (!to) return;
    now.setAttribute("tabindex", -1);
    to.setAttribute("tabindex", 0);
    to.focus();
  });
}
addEventListener("keydown", (event) => event.key === "Escape" && hide());

"use strict";

// Links to sections: in a notebook's frame, the address is not this page's.
for (const link of document.querySelectorAll('a[href^="#"]')) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const target = document.getElementById(link.hash.slice(1));
    target.focus({ preventScroll: true });
    target.scrollIntoView();
  });
}

// Tables that are sorted by a column, and searched.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("number");
      const order = { ascending: "descending", descending: "ascending" }[head.ariaSort] ?? (isNumber ? "descending" : "ascending");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => sign * compare(keyOf(a, column), keyOf(b, column)));
      body.append(...rows);
    });
  });
  const search = document.querySelector(`input[data-table="${table.id}"]`);
  if (!search) continue;
  const tools = search.closest(".tools");
  const count = tools.querySelector(".count");
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    let n = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      n += !row.hidden;
    }
    count.textContent = `${n} of ${body.rows.length} rows`;
  };
  search.addEventListener("input", show);
  tools.hidden = false;
  show();
}

// The texts: filtered, and a page at a time.
const data = document.getElementById("text-data");
if (data) {
  const PAGE = 20;
  const { names: lists, rows } = JSON.parse(data.textContent);
  const folded = rows.map((row) => row[0].toLowerCase());
  const form = document.getElementById("text-filters");
  const search = document.getElementById("text-search");
  const pager = document.getElementById("text-pager");
  const body = document.getElementById("text-table").tBodies[0];
  const heads = [...document.getElementById("text-table").tHead.rows[0].cells];
  const [back, on] = pager.querySelectorAll("button");
  let found = [];
  let start = 0;

  const tally = (key) => {
    const counts = new Array(lists[key].length).fill(0);
    for (const row of rows) counts[row[key + 1]] += 1;
    return counts;
  };
  tally(1).forEach((n, i) => {
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", name: "verdict", value: i, defaultChecked: true, checked: true });
    const label = document.createElement("label");
    label.append(box, ` ${lists[1][i]} (${n})`);
    document.getElementById("text-verdicts").append(label);
  });
  const selects = [...form.querySelectorAll("select")];
  for (const select of selects) {
    const key = Number(select.dataset.key);
    const counts = tally(key);
    const order = lists[key].map((_, i) => i).sort((a, b) => lists[key][a].localeCompare(lists[key][b], undefined, { numeric: true }));
    select.append(new Option("all", ""));
    for (const i of order) select.append(new Option(`${lists[key][i] || "none"} (${counts[i]})`, i));
  }

  const draw = () => {
    const shown = found.slice(start, start + PAGE).map((i) => {
      const row = document.createElement("tr");
      const [text, ...own] = rows[i];
      [text, ...lists.map((list, key) => list[own[key]]), own[lists.length]].forEach((value, column) => {
        const cell = row.insertCell();
        cell.className = heads[column].className;
        const isolated = document.createElement("bdi"); // text in other directions stays in its cell
        isolated.textContent = value;
        cell.append(isolated);
      });
      return row;
    });
    body.replaceChildren(...shown);
    const end = Math.min(start + PAGE, found.length);
    document.getElementById("text-count").textContent = found.length ? `${start + 1} to ${end} of ${found.length} texts` : "No text fits.";
    back.disabled = start === 0;
    on.disabled = end === found.length;
  };
  const filter = () => {
    const verdicts = new Set([...form.querySelectorAll("input:checked")].map((box) => Number(box.value)));
    const wanted = selects.filter((select) => select.value).map((select) => [Number(select.dataset.key) + 1, Number(select.value)]);
    const words = search.value.trim().toLowerCase();
    found = [];
    rows.forEach((row, i) => {
      if (verdicts.has(row[2]) && wanted.every(([at, value]) => row[at] === value) && folded[i].includes(words)) found.push(i);
    });
    start = 0;
    draw();
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  pager.addEventListener("click", (event) => {
    if (!event.target.dataset.step) return;
    start += PAGE * Number(event.target.dataset.step);
    draw();
    (event.target.disabled ? (event.target === on ? back : on) : event.target).focus();
  });
  form.hidden = pager.hidden = false;
  filter();
}

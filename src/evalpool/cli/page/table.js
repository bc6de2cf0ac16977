// The jobs, filtered and sorted; of all of them, only the rows that can be seen exist.

const ROW = 28; // as in the style sheet

const table = { view: [], sort: "number", down: true };

const lasted = (job) => (job.start === null ? null : (job.end === null ? now() : job.end) - job.start);
const objectiveOf = (job) => (job.values.length ? job.values[Number($("which").value) || 0] ?? null : null);

const COLUMNS = [
  { key: "number", title: "job", of: (job) => job.number, text: (job) => `${model.search}.${job.number}` },
  { key: "state", title: "status", of: (job) => job.state, text: (job) => (job.partial ? "stopped early" : job.state) },
  { key: "objective", title: "objective", of: objectiveOf, text: (job) => show(job.objective), right: true },
  { key: "worker", title: "worker", of: (job) => job.worker, text: (job) => job.worker ?? "", less: true },
  { key: "start", title: "start", of: (job) => job.start, text: (job) => duration(job.start), right: true, less: true },
  { key: "lasted", title: "duration", of: lasted, text: (job) => duration(lasted(job)), right: true, less: true },
  { key: "attempt", title: "attempt", of: (job) => job.attempt, text: (job) => String(job.attempt), right: true, less: true },
  { key: "configuration", title: "configuration", of: (job) => job.configuration, text: (job) => (job.tags ? `[${job.tags}] ` : "") + job.configuration, code: true },
];

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1; // jobs without a value come last in both directions
  if (b === null || b === undefined) return -1;
  const order = typeof a === "number" && typeof b === "number" ? a - b : natural(String(a), String(b));
  return table.down ? -order : order;
}

function makeView() {
  const needle = $("filter").value.trim().toLowerCase();
  const state = $("status").value;
  const view = [];
  for (const job of model.jobs.values()) {
    if (state && job.state !== state) continue;
    if (needle && !matches(job, needle)) continue;
    view.push(job);
  }
  const { of } = COLUMNS.find((column) => column.key === table.sort);
  const keys = new Map(view.map((job) => [job, of(job)])); // computed once each: a running job's duration changes
  view.sort((a, b) => compare(keys.get(a), keys.get(b)) || b.number - a.number);
  table.view = view;
  $("space").style.height = view.length * ROW + "px";
  let text = view.length === model.jobs.size ? `${count(view.length)} jobs` : `${count(view.length)} of ${count(model.jobs.size)} jobs`;
  if (model.more) text += `, ${count(model.more)} more are coming`;
  if (model.leftOut) text += `; ${count(model.leftOut)} older ones are left out, see evalpool export`;
  $("count").textContent = text;
  drawRows();
}

function matches(job, needle) {
  return job.configuration.toLowerCase().includes(needle) || `${model.search}.${job.number}` === needle ||
    job.tags.toLowerCase().includes(needle) || (job.worker !== null && job.worker.toLowerCase().includes(needle)) ||
    (typeof job.objective === "string" && job.objective.toLowerCase().includes(needle));
}

function drawRows() {
  const scroll = $("scroll");
  const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - 4);
  const last = Math.min(table.view.length, first + Math.ceil(scroll.clientHeight / ROW) + 8);
  const rows = [];
  for (let index = first; index < last; index += 1) rows.push(makeRow(table.view[index]));
  if (!table.view.length) rows.push(element("div", model.jobs.size ? "No job matches." : "No jobs yet.", "empty"));
  $("rows").style.top = first * ROW + "px";
  // Rows are redrawn a few times a second: the keyboard's focus stays on the same job.
  const held = $("rows").contains(document.activeElement) ? document.activeElement.dataset.number : undefined;
  $("rows").replaceChildren(...rows);
  if (held !== undefined) {
    const again = rows.find((row) => row.dataset.number === held);
    (again ?? $("scroll")).focus({ preventScroll: true });
  }
}

function makeRow(job) {
  const row = element("div", null, "row");
  row.setAttribute("role", "row");
  row.dataset.number = job.number;
  row.tabIndex = 0;
  for (const column of COLUMNS) {
    const cell = element("span", column.text(job), [column.right && "right", column.code && "code", column.less && "less"].filter(Boolean).join(" "));
    cell.setAttribute("role", "cell");
    if (column.key === "state") cell.classList.add(job.state);
    if (column.key === "objective" && job.state === "failed") cell.classList.add("failed");
    row.append(cell);
  }
  return row;
}

function makeColumns() {
  $("columns").replaceChildren(...COLUMNS.map((column) => {
    const sorted = table.sort === column.key;
    const button = element("button", column.title + (sorted ? (table.down ? " ▾" : " ▴") : ""),
      [column.right && "right", column.less && "less"].filter(Boolean).join(" "));
    button.type = "button";
    button.setAttribute("role", "columnheader");
    if (sorted) button.setAttribute("aria-sort", table.down ? "descending" : "ascending");
    button.addEventListener("click", () => {
      table.down = sorted ? !table.down : column.key === "number" || column.key === "objective" || column.key === "lasted";
      table.sort = column.key;
      makeColumns();
      $("scroll").scrollTop = 0;
      makeView();
    });
    return button;
  }));
}

$("scroll").addEventListener("scroll", () => requestAnimationFrame(drawRows));
$("filter").addEventListener("input", () => { $("scroll").scrollTop = 0; makeView(); });
$("status").addEventListener("change", () => { $("scroll").scrollTop = 0; makeView(); });
$("rows").addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row) openDetail(Number(row.dataset.number));
});
$("scroll").addEventListener("keydown", (event) => {
  const row = event.target.closest(".row");
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const at = row ? table.view.findIndex((job) => job.number === Number(row.dataset.number)) : -1;
    const to = row ? at + (event.key === "ArrowDown" ? 1 : -1) : Math.ceil($("scroll").scrollTop / ROW);
    if (!table.view[to]) return;
    event.preventDefault();
    const scroll = $("scroll");
    scroll.scrollTop = Math.min(to * ROW, Math.max(scroll.scrollTop, (to + 1) * ROW - scroll.clientHeight));
    drawRows();
    $("rows").querySelector(`[data-number="${table.view[to].number}"]`).focus({ preventScroll: true });
  } else if (row && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    openDetail(Number(row.dataset.number));
  }
});
makeColumns();

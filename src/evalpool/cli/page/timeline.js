// A line for each worker, a bar for each job on it. Jobs whose worker is not known yet have lines of their own.

const LANES = 64; // the most workers with a line: those that worked last
const timeline = { bars: [] };

const natural = new Intl.Collator("en", { numeric: true }).compare;

function lanesOf(from) {
  const lanes = new Map(); // worker -> its jobs
  const unassigned = [];
  for (const job of sortEnded()) {
    if (job.worker === null || job.start === null || job.end < from) continue;
    const lane = lanes.get(job.worker);
    if (lane) lane.push(job);
    else lanes.set(job.worker, [job]);
  }
  for (const job of runningJobs()) {
    if (job.start === null) continue;
    if (job.worker === null) unassigned.push(job);
    else if (lanes.has(job.worker)) lanes.get(job.worker).push(job);
    else lanes.set(job.worker, [job]);
  }
  let names = [...lanes.keys()];
  const all = names.length;
  if (all > LANES) {
    const latest = (name) => { const lane = lanes.get(name); return lane[lane.length - 1].end ?? Infinity; };
    names = names.sort((a, b) => latest(b) - latest(a)).slice(0, LANES);
  }
  names.sort(natural);
  const shown = names.map((name) => [name, lanes.get(name)]);
  unassigned.sort((a, b) => a.start - b.start);
  for (const job of unassigned.slice(0, LANES)) shown.push(["now running", [job]]);
  return [shown, all];
}

function runningJobs() {
  const found = [];
  for (const job of (model.summary ? model.summary.running : [])) {
    const known = model.jobs.get(Number(job.job_id.split(".").pop()));
    if (known && known.state === "running") found.push(known);
  }
  return found;
}

function drawTimeline() {
  const seconds = Number($("window").value);
  const to = Math.max(now(), model.ended.length ? sortEnded()[model.ended.length - 1].end : 0, 1e-3);
  const from = seconds ? Math.max(0, to - seconds) : 0;
  const [lanes, all] = lanesOf(from);
  const box = $("lanes").clientHeight;
  const axis = 40;
  const tall = Math.max(8, Math.min(44, (box - axis - 8) / Math.max(1, lanes.length)));
  const { context, width } = fresh($("timeline"), Math.max(box, Math.ceil(lanes.length * tall + axis + 8)));
  const c = colours();
  const names = lanes.map(([name]) => (name.length > 22 ? name.slice(0, 21) + "…" : name));
  const left = 12 + Math.max(30, ...names.map((name) => context.measureText(name).width));
  const right = $("lanes").clientWidth - 10;
  const x = (time) => left + ((time - from) / (to - from)) * (right - left);
  timeline.bars = [];
  let lastName = null;
  lanes.forEach(([name, jobs], line) => {
    const y = 4 + line * tall;
    context.fillStyle = c.soft;
    context.textAlign = "right";
    context.textBaseline = "middle";
    if (name !== lastName && (tall >= 11 || line % Math.ceil(11 / tall) === 0)) context.fillText(names[line], left - 6, y + tall / 2);
    lastName = name;
    context.fillStyle = c.line;
    context.fillRect(left, y + tall - 1, right - left, 0.5);
    const height = tall - Math.min(4, tall / 4);
    let edge = -1;
    for (const job of jobs) {
      const a = Math.max(left, x(job.start));
      const b = Math.max(a + 0.6, x(job.end === null ? to : job.end));
      if (b - edge < 0.3 && job.state === "succeeded") continue; // it would be drawn onto the one before it
      context.fillStyle = c[job.state] || c.done;
      const gap = b - a > 3 ? 0.8 : 0;
      context.fillRect(a, y, b - a - gap, height);
      timeline.bars.push([a, b, y, y + height, job]);
      edge = b;
    }
  });
  timeAxis(context, left, right, 4 + lanes.length * tall + 2, from, to);
  legendOfTimeline(lanes, all, from, to);
}

function legendOfTimeline(lanes, all, from, to) {
  const legend = $("timeline-legend");
  legend.replaceChildren();
  const used = new Set();
  for (const [, jobs] of lanes) for (const job of jobs) used.add(job.state);
  for (const state of ["succeeded", "failed", "cancelled", "running"]) {
    if (used.has(state)) legend.append(element("span", "", "key key-" + (state === "succeeded" ? "done" : state)), state);
  }
  const named = lanes.filter(([name]) => name !== "now running");
  let busy = 0;
  for (const [, jobs] of named) {
    for (const job of jobs) busy += Math.max(0, (job.end ?? to) - Math.max(job.start, from));
  }
  if (named.length && to > from) {
    legend.append(` · ${count(all)} worker${all === 1 ? "" : "s"}, busy ${Math.min(100, Math.round((100 * busy) / (named.length * (to - from))))} % of the time shown`);
  }
  if (all > LANES) legend.append(` · the ${LANES} that worked last are shown`);
  if (!lanes.length) legend.append("No job has run yet.");
}

function barAt(event) {
  const box = $("timeline").getBoundingClientRect();
  const [px, py] = [event.clientX - box.left, event.clientY - box.top];
  for (let index = timeline.bars.length - 1; index >= 0; index -= 1) {
    const [a, b, top, bottom, job] = timeline.bars[index];
    if (py >= top && py <= bottom && px >= a - 1 && px <= b + 1) return job;
  }
  return null;
}

pickable("timeline", barAt);

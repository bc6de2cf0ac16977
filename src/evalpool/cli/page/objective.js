// Each evaluation where it ended, the best so far as a line, failures at the bottom.

const objectiveChart = { points: [], dense: 3000 };

function drawObjective() {
  const { context, width, height } = fresh($("objective"));
  const c = colours();
  const which = Number($("which").value) || 0;
  const done = [];
  const failed = [];
  let several = 1;
  for (const job of sortEnded()) {
    if (job.values.length > which) {
      done.push(job);
      several = Math.max(several, job.values.length);
    } else if (job.state === "failed") failed.push(job);
  }
  offerObjectives(several);
  const value = (job) => job.values[which];
  let low = Infinity;
  let high = -Infinity;
  for (const job of done) {
    low = Math.min(low, value(job));
    high = Math.max(high, value(job));
  }
  if ($("zoom").checked && done.length > 10) {
    const sorted = Float64Array.from(done, value).sort();
    if (model.summary.minimize) high = sorted[Math.ceil((9 * sorted.length) / 10) - 1];
    else low = sorted[Math.floor(sorted.length / 10)];
  }
  if (!(low <= high)) [low, high] = [0, 1];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - margin, high + margin];
  const marks = ticks(low, high, 6);
  const left = 14 + Math.max(20, ...marks.map((mark) => context.measureText(show(mark)).width));
  const [right, top, bottom] = [width - 8, 8, height - 58];
  const to = Math.max(now(), done.length ? done[done.length - 1].end : 0, 1e-3);
  const x = (time) => left + (time / to) * (right - left);
  const y = (at) => bottom - ((at - low) / (high - low)) * (bottom - top);
  context.strokeStyle = c.line;
  context.fillStyle = c.soft;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const mark of marks) {
    context.beginPath();
    context.moveTo(left, y(mark));
    context.lineTo(right, y(mark));
    context.stroke();
    context.fillText(show(mark), left - 6, y(mark));
  }
  timeAxis(context, left, right, bottom + 18, 0, to);
  objectiveChart.points = [];
  const keep = (job, px, py) => objectiveChart.points.push([px, py, job]);
  const dense = done.length > objectiveChart.dense;
  context.fillStyle = context.strokeStyle = c.done;
  context.globalAlpha = dense ? 0.35 : 0.55;
  const seen = new Set(); // of many points on one pixel, one is drawn
  for (const job of done) {
    if (value(job) < low || value(job) > high) continue;
    const [px, py] = [x(job.end), y(value(job))];
    if (dense) {
      const place = Math.round(px) * 4096 + Math.round(py);
      if (seen.has(place)) continue;
      seen.add(place);
      context.fillRect(px - 1, py - 1, 2.5, 2.5);
    } else {
      context.beginPath();
      context.arc(px, py, 3.2, 0, 7);
      if (job.partial) context.stroke(); // hollow: its objective is a partial one
      else context.fill();
    }
    keep(job, px, py);
  }
  context.globalAlpha = 1;
  drawBest(context, done.filter((job) => !job.partial), value, x, y, low, high, right);
  context.strokeStyle = c.failed;
  context.lineWidth = 1.3;
  let lastX = -9;
  for (const job of failed) {
    const px = x(job.end);
    if (px - lastX < 1.5) continue; // as many as can be told apart
    lastX = px;
    const py = bottom + 9;
    context.beginPath();
    context.moveTo(px - 3, py - 3);
    context.lineTo(px + 3, py + 3);
    context.moveTo(px - 3, py + 3);
    context.lineTo(px + 3, py - 3);
    context.stroke();
    keep(job, px, py);
  }
  context.lineWidth = 1;
  legendOfObjective(done.length, failed.length, done.filter((job) => job.partial).length);
}

function drawBest(context, done, value, x, y, low, high, right) {
  if (!done.length) return;
  context.strokeStyle = colours().best;
  context.lineWidth = 2;
  context.beginPath();
  const smaller = model.summary.minimize;
  const inside = (at) => y(Math.min(Math.max(at, low), high));
  let best = null;
  for (const job of done) {
    if (best !== null && (smaller ? value(job) >= best : value(job) <= best)) continue;
    const px = x(job.end);
    if (best !== null) context.lineTo(px, inside(best));
    best = value(job);
    context.lineTo(px, inside(best));
  }
  context.lineTo(right, inside(best));
  context.stroke();
  context.lineWidth = 1;
}

function offerObjectives(several) {
  const select = $("which");
  $("which-label").hidden = several < 2;
  while (select.options.length < several) {
    const option = element("option", select.options.length);
    option.value = String(select.options.length);
    select.append(option);
  }
}

function legendOfObjective(done, failed, partial) {
  const legend = $("objective-legend");
  legend.replaceChildren(element("span", "", "key key-done"), `${count(done)} evaluations`, element("span", "", "key key-best"),
    "best so far");
  if (partial) legend.append(` · ${count(partial)} of them stopped early (hollow)`);
  if (failed) legend.append(element("span", "", "key key-failed"), `${count(failed)} failures`);
}

function nearest(event) {
  const box = $("objective").getBoundingClientRect();
  const [px, py] = [event.clientX - box.left, event.clientY - box.top];
  let found = null;
  let least = 64;
  for (const [x, y, job] of objectiveChart.points) {
    const far = (x - px) ** 2 + (y - py) ** 2;
    if (far < least) [found, least] = [job, far];
  }
  return found;
}

pickable("objective", nearest);

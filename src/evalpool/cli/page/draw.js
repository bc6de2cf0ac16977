// How things are written and drawn: numbers, times, axes.

const $ = (id) => document.getElementById(id);

function element(name, text, cls) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text); // never as markup
  if (cls) made.className = cls;
  return made;
}

function show(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return "(" + value.map(show).join(", ") + ")";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  return String(Number(value.toPrecision(5)));
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.01 && seconds > 0) return (1000 * seconds).toPrecision(2) + " ms";
  if (seconds < 60) return (seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(0)) + " s";
  const whole = Math.round(seconds);
  if (whole < 3600) return Math.floor(whole / 60) + " min " + (whole % 60) + " s";
  if (whole < 86400) return Math.floor(whole / 3600) + " h " + Math.floor((whole % 3600) / 60) + " min";
  return Math.floor(whole / 86400) + " d " + Math.floor((whole % 86400) / 3600) + " h";
}

function speed(rate) {
  for (const [unit, seconds] of [["s", 1], ["min", 60], ["h", 3600]]) {
    if (rate * seconds >= 1) return show(Number((rate * seconds).toPrecision(3))) + "/" + unit;
  }
  return show(Number((rate * 86400).toPrecision(3))) + "/day";
}

const count = (n) => n.toLocaleString("en").replace(/,/g, " ");

let palette = null;
function colours() {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    palette = {};
    for (const name of ["card", "ink", "soft", "line", "done", "best", "failed", "cancelled", "running"]) {
      palette[name] = style.getPropertyValue("--" + name).trim();
    }
    palette.succeeded = palette.done;
    palette.waiting = palette.cancelled;
  }
  return palette;
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { palette = null; });

// A canvas of the size it has on the screen, cleared; drawn in CSS pixels.
function fresh(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (height !== undefined) canvas.style.height = height + "px";
  const tall = height === undefined ? canvas.clientHeight : height;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, tall);
  context.font = '11px system-ui, "DejaVu Sans", sans-serif';
  return { context, width, height: tall };
}

function ticks(low, high, most) {
  const span = high - low || 1;
  const raw = span / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

// The unit of a time axis up to `longest` seconds: its length and its name.
function timeUnit(longest) {
  for (const [seconds, name] of [[86400, "days"], [3600, "hours"], [60, "minutes"]]) {
    if (longest >= 3 * seconds) return [seconds, name];
  }
  return [1, "seconds"];
}

function timeAxis(context, left, right, bottom, from, to) {
  const c = colours();
  const [seconds, name] = timeUnit(to);
  context.fillStyle = c.soft;
  context.strokeStyle = c.line;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of ticks(from / seconds, to / seconds, (right - left) / 90)) {
    const x = left + ((tick * seconds - from) / (to - from || 1)) * (right - left);
    context.beginPath();
    context.moveTo(x, bottom);
    context.lineTo(x, bottom + 4);
    context.stroke();
    context.fillText(show(tick), x, bottom + 6);
  }
  context.textAlign = "right";
  context.fillText(name + " since the start", right, bottom + 20);
}

function tip(event, text) {
  const box = $("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const wide = box.offsetWidth;
  box.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - wide - 8)) + "px";
  box.style.top = (event.clientY + box.offsetHeight + 24 > innerHeight ? event.clientY - box.offsetHeight - 10
    : event.clientY + 16) + "px";
}

function describe(job) {
  const parts = [`job ${model.search}.${job.number}: ${job.state}`];
  if (job.state === "succeeded") parts.push("objective " + show(job.objective) + (job.partial ? ", stopped early" : ""));
  if (job.state === "failed") parts.push(show(job.objective));
  if (job.worker) parts.push("on " + job.worker);
  if (job.start !== null) parts.push("ran for " + duration((job.end === null ? now() : job.end) - job.start));
  parts.push(job.configuration);
  return parts.join("\n");
}

/* The job that a drawing shows under the mouse is described, and opened by a click. */
function pickable(id, jobUnder) {
  const drawing = $(id);
  drawing.addEventListener("mousemove", (event) => {
    const job = jobUnder(event);
    drawing.style.cursor = job ? "pointer" : "default";
    tip(event, job && describe(job));
  });
  drawing.addEventListener("mouseleave", (event) => tip(event, null));
  drawing.addEventListener("click", (event) => {
    const job = jobUnder(event);
    if (job) openDetail(job.number);
  });
}

// Asks the server for news, one request after the other; draws when something has changed, a few times a second.

const start = JSON.parse($("start").textContent);
let wanted = start.search; // null: the latest
let generation = 0; // of requests: when another search is chosen, answers to earlier requests are ignored

async function follow() {
  let wait = 500;
  for (;;) {
    const mine = generation;
    try {
      const search = wanted === null ? "" : `&search=${encodeURIComponent(wanted)}`;
      const answer = await fetch(`rows?after=${model.version}${search}`);
      if (!answer.ok) throw new Error(await answer.text());
      const news = await answer.json();
      if (mine !== generation) continue;
      take(news);
      wait = 500;
    } catch (error) {
      if (mine !== generation) continue;
      link(error instanceof TypeError ? "The server does not answer; trying again …" : error.message, true);
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(10000, 2 * wait);
    }
  }
}

function take(news) {
  if (news.search === null) {
    link("No search has begun yet.", false);
    return;
  }
  if (model.search !== news.search) {
    const other = model.search !== null; // a newer search began, and the latest was wanted
    model.search = news.search;
    if (other) {
      forget();
      generation += 1;
      offerSearches(news.searches);
      return;
    }
  }
  takeRows(news.rows);
  Object.assign(model, { summary: news.summary, version: news.version, more: news.more, offset: news.now - Date.now() / 1000 });
  model.leftOut = Math.max(model.leftOut, news.left_out);
  offerSearches(news.searches);
  if (news.trouble) link(news.trouble, true);
  else link(news.more ? `reading, ${count(news.more)} jobs to go …` : "", false);
  draw();
}

function link(text, bad) {
  $("link").textContent = text;
  $("link").className = bad ? "bad" : "";
}

function offerSearches(searches) {
  const select = $("search");
  if (select.options.length !== searches.length) {
    select.replaceChildren(...searches.map((id) => {
      const option = element("option", id);
      option.value = id;
      return option;
    }));
  }
  select.value = model.search;
}

$("search").addEventListener("change", () => {
  wanted = $("search").value;
  generation += 1;
  forget();
  model.search = wanted;
  $("scroll").scrollTop = 0;
});

let drawn = 0;
let due = false;
function draw() {
  if (due) return;
  due = true;
  const pause = model.jobs.size > 50000 ? 1500 : 300; // with many jobs a drawing takes tenths of a second
  setTimeout(() => requestAnimationFrame(() => {
    due = false;
    drawn = performance.now();
    drawAll();
  }), Math.max(0, pause - (performance.now() - drawn)));
}

function drawAll() {
  if (!model.summary) return;
  drawFacts();
  drawFailures();
  drawObjective();
  drawTimeline();
  makeView();
}

function drawFacts() {
  const s = model.summary;
  document.title = `${s.evaluated}${s.total ? "/" + s.total : ""} ${s.state} · evalpool`;
  $("state").textContent = s.state;
  $("state").className = "badge " + s.state;
  const whole = Math.max(s.total ?? 0, s.jobs.all - s.jobs.cancelled, 1);
  const share = (n) => `${(100 * n) / whole}%`;
  $("bar-done").style.width = share(s.jobs.succeeded);
  $("bar-failed").style.width = share(s.jobs.failed);
  $("bar-running").style.width = share(s.jobs.running);
  const facts = [];
  const fact = (name, value, more, wide) => {
    const box = element("div", null, wide ? "wide" : "");
    const said = element("dd", value);
    if (more) said.append(element("small", more));
    said.title = [value, more].filter(Boolean).join("\n");
    box.append(element("dt", name), said);
    facts.push(box);
  };
  const jobs = s.jobs;
  fact("evaluated", count(s.evaluated), [s.total ? `of ${count(s.total)}` : "",
    jobs.failed ? `${count(jobs.failed)} failed` : "", jobs.cancelled ? `${count(jobs.cancelled)} cancelled` : ""].filter(Boolean).join(", "));
  if (s.best) fact(s.minimize ? "best so far (smallest)" : "best so far", show(s.best.objective), `job ${s.best.job_id}: ${brief(s.best.configuration)}`, true);
  else for (const [name, value] of Object.entries(s.standing)) fact(name, value);
  fact("running", count(jobs.running), jobs.waiting ? `${count(jobs.waiting)} waiting` : "");
  fact("speed", s.rate ? speed(s.rate) : "–");
  const over = ["ended", "suspended", "abandoned"].includes(s.state);
  fact(over ? "took" : "runs for", duration(over ? s.elapsed : now()),
    s.seconds_left ? `${duration(s.seconds_left)} left, until ${clock(s.seconds_left)}` : `since ${new Date(1000 * s.started).toLocaleString()}`);
  $("facts").replaceChildren(...facts);
}

const brief = (configuration) => Object.entries(configuration).map(([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : show(value)}`).join(", ");

function clock(seconds) {
  const at = new Date(Date.now() + 1000 * seconds);
  return seconds < 72000 ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : at.toLocaleString();
}

let failuresShown = "";
function drawFailures() {
  const texts = Object.entries(model.summary.failure_texts);
  $("failures-card").hidden = !texts.length;
  if (JSON.stringify(texts) === failuresShown) return; // a button that is being clicked stays
  failuresShown = JSON.stringify(texts);
  $("failures").replaceChildren(...texts.map(([text, times]) => {
    const button = element("button");
    button.type = "button";
    button.append(element("b", count(times)), ` ${text}`);
    button.addEventListener("click", () => {
      $("filter").value = text;
      $("status").value = "";
      $("scroll").scrollTop = 0;
      makeView();
      $("table").scrollIntoView({ behavior: "smooth", block: "center" });
    });
    return button;
  }));
}

$("name").textContent = start.name;
for (const id of ["zoom", "window", "which"]) $(id).addEventListener("change", drawAll);
new ResizeObserver(() => { if (model.summary) { drawObjective(); drawTimeline(); } }).observe($("charts"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { palette = null; drawAll(); });
setInterval(() => { if (model.summary && !document.hidden && model.summary.jobs.running) draw(); }, 1000); // durations of running jobs grow
follow();

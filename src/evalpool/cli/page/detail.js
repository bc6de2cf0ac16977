// Everything about one job: its configuration, its traceback, what it recorded.

async function openDetail(number) {
  tip(null, null);
  const title = $("detail-title");
  const body = $("detail-body");
  title.textContent = `Job ${model.search}.${number}`;
  body.replaceChildren(element("p", "…"));
  if (!$("detail").open) $("detail").showModal();
  try {
    const answer = await fetch(`job?search=${encodeURIComponent(model.search)}&number=${number}`);
    if (!answer.ok) throw new Error(await answer.text());
    body.replaceChildren(...partsOf(await answer.json()));
  } catch (error) {
    body.replaceChildren(element("p", `It cannot be shown: ${error.message}`, "failed"));
  }
}

function partsOf(job) {
  const facts = element("dl");
  const fact = (name, value) => {
    if (value === null || value === undefined || value === "") return;
    const box = element("div");
    box.append(element("dt", name), element("dd", value));
    facts.append(box);
  };
  fact("status", job.status);
  fact("objective", show(job.objective) + (job.stopped_early ? ", stopped early" : ""));
  fact("kind of failure", job.kind);
  fact("attempts", job.attempts);
  for (const [name, value] of Object.entries(job.options)) {
    if (name !== "job_timeout") fact(name, value || null);
    else if (value !== null) fact("time limit", value ? duration(value) : "none");
  }
  fact("worker", job.worker);
  fact("host", job.host);
  fact("process", job.pid);
  fact("submitted after", duration(job.timestamp_submit));
  fact("started after", duration(job.timestamp_start));
  if (job.timestamp_start !== null && job.timestamp_end !== null) fact("ran for", duration(job.timestamp_end - job.timestamp_start));
  const parts = [facts];
  const block = (name, text, cls) => {
    if (text === null || text === undefined || text === "" || text === "{}") return;
    parts.push(element("h3", name), element("pre", text, cls));
  };
  block("error", job.error, "error");
  job.attempt_errors.forEach((text, index) => block(`error of attempt ${index + 1}`, text, "error"));
  block("configuration", job.configuration);
  block("output", job.output);
  block("metadata", job.metadata);
  const kept = job.recorded.slice(-200);
  const name = kept.length < job.recorded.length ? `recorded, the last ${kept.length} of ${job.recorded.length}` : "recorded";
  block(name, kept.map(([budget, value]) => `${show(budget)}: ${show(value)}`).join("\n"));
  return parts;
}

$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });

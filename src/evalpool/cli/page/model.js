// The data of the page: the jobs of one search, kept up to date by rows after a version.

const MOST = 200000; // jobs that are kept; the oldest are dropped first

const model = {
  jobs: new Map(), // number -> job
  ended: [], // with an end, in the order of their ends as far as `sortEnded` was called
  unsorted: false,
  summary: null,
  search: null,
  version: 0,
  more: 0,
  leftOut: 0,
  offset: 0, // the server's clock minus ours, seconds
};

function kindOf(status, kind) {
  if (status === "CANCELLED") return "cancelled";
  if (kind !== null) return "failed";
  if (status === "DONE") return "succeeded";
  if (status === "FAILED") return "failed";
  return status === "READY" ? "waiting" : "running";
}

function takeRows(rows) {
  for (const [number, status, objective, kind, worker, submit, start, end, attempt, configuration, partial, tags] of rows) {
    const old = model.jobs.get(number);
    const state = kindOf(status, kind);
    const values = state === "succeeded" ? (Array.isArray(objective) ? objective : [objective]) : [];
    const job = {
      number, state, objective, values: values.filter((value) => typeof value === "number"), worker, submit, start, end,
      attempt, configuration, partial, tags,
    };
    if (old) {
      Object.assign(old, job);
      if (old.end !== null && !old.listed) listEnded(old);
    } else {
      job.listed = false;
      model.jobs.set(number, job);
      if (job.end !== null) listEnded(job);
    }
  }
  if (model.jobs.size > MOST) dropOldest();
}

function listEnded(job) {
  job.listed = true;
  const last = model.ended[model.ended.length - 1];
  if (last && last.end > job.end) model.unsorted = true;
  model.ended.push(job);
}

function sortEnded() {
  if (model.unsorted) {
    model.ended.sort((a, b) => a.end - b.end || a.number - b.number);
    model.unsorted = false;
  }
  return model.ended;
}

function dropOldest() {
  const numbers = [...model.jobs.keys()].sort((a, b) => a - b);
  const gone = numbers.slice(0, numbers.length - MOST);
  for (const number of gone) model.jobs.delete(number);
  model.leftOut += gone.length;
  model.ended = model.ended.filter((job) => model.jobs.has(job.number));
}

function forget() {
  Object.assign(model, { ended: [], unsorted: false, summary: null, version: 0, more: 0, leftOut: 0 });
  model.jobs = new Map();
}

// Seconds since the search's start, on the clock of the server.
function now() {
  const summary = model.summary;
  if (!summary) return 0;
  if (["ended", "suspended", "abandoned"].includes(summary.state)) return summary.elapsed;
  return Math.max(0, Date.now() / 1000 + model.offset - summary.started);
}

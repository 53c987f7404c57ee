// Numbers in Prometheus' text format, and what can be read off them.

/** All samples of a text by their names: lists of {labels, value}. */
export function samplesOf(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const sample = line.startsWith("#") ? null : line.match(/^([\w:]+)(?:\{(.*)\})?\s+(\S+)/);
    if (!sample) continue;
    const [, name, labels, value] = sample;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels: labelsOf(labels), value: numberOf(value) });
  }
  return found;
}

/** The sum of a name's samples that have these labels; NaN where there are none. */
export function sum(samples, name, labels = {}) {
  const wanted = Object.entries(labels);
  const fits = (sample) => wanted.every(([key, value]) => sample.labels[key] === value);
  const values = (samples.get(name) ?? []).filter(fits).map((sample) => sample.value);
  return values.length === 0 ? NaN : values.reduce((total, value) => total + value, 0);
}

/**
 * A quantile of what a histogram has counted between two readings, as Prometheus works it out:
 * evenly spread within the bucket that it falls into. NaN where nothing was counted.
 */
export function quantile(now, before, name, share) {
  const added = [...buckets(now, name)].map(([edge, count]) => [edge, count - (buckets(before, name).get(edge) ?? 0)]);
  added.sort(([a], [b]) => a - b);
  const all = added.at(-1)?.[1] ?? 0;
  if (!(all > 0)) return NaN;
  const rank = share * all;
  const index = added.findIndex(([, count]) => count >= rank);
  const [edge, count] = added[index];
  const [low, below] = index > 0 ? added[index - 1] : [0, 0];
  if (!Number.isFinite(edge)) return low;
  return low + (edge - low) * ((rank - below) / (count - below || 1));
}

function buckets(samples, name) {
  const edges = new Map();
  for (const { labels, value } of samples?.get(`${name}_bucket`) ?? []) {
    const edge = numberOf(labels.le);
    edges.set(edge, (edges.get(edge) ?? 0) + value);
  }
  return edges;
}

function labelsOf(text = "") {
  const pairs = [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  const plain = (value) => value.replace(/\\(.)/g, (_, char) => (char === "n" ? "\n" : char));
  return Object.fromEntries(pairs.map(([, name, value]) => [name, plain(value)]));
}

function numberOf(text) {
  return text === "+Inf" ? Infinity : Number(text);
}

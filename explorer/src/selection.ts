// Which pictures a gallery shows, and in which order.

import { isPresent } from "./decision";
import type { Params } from "./route";
import type { Shown, Store } from "./store";

export const SORTS: [string, string][] = [
  ["", "as in the data"],
  ["close", "margin, smallest first"],
  ["clear", "margin, largest first"],
  ["mistakes", "surest mistakes first"],
  ["strange", "least familiar first"],
  ["name", "name"],
];

export const OUTCOMES: [string, string][] = [
  ["", "all"],
  ["right", "right"],
  ["wrong", "wrong"],
];

/** Positions of the pictures that pass every filter, sorted. */
export function select(store: Store, params: Params): number[] {
  const { labels, names, classes } = store;
  const { model, decisions } = store.models[params.model === "1" && store.models.length > 1 ? 1 : 0]!;
  const tests: ((n: number) => boolean)[] = [];
  const chosen = (name: string) => (params[name] ? Number(params[name]) : null);
  const [truly, predicted] = [chosen("true"), chosen("predicted")];
  if (truly !== null) tests.push((n) => labels[n] === truly);
  if (predicted !== null) tests.push((n) => decisions.predicted[n] === predicted);
  if (params.outcome) {
    const right = params.outcome === "right";
    tests.push((n) => labels[n]! >= 0 && (labels[n] === decisions.predicted[n]) === right);
  }
  const familiarity = model.trust?.familiarity;
  if (params.familiar && familiarity) {
    const { unfamiliar } = model.trust!;
    tests.push((n) => familiarity[n]! <= unfamiliar === (params.familiar === "no"));
  }
  if (params.maps) tests.push((n) => model.maps.has(n));
  if (params.between) tests.push(between(store, params.between));
  const concept = model.phrases.indexOf(params.concept ?? "");
  if (concept >= 0) tests.push(says(store.models.find((each) => each.model === model)!, concept, params.says ?? ""));
  if (params.search) {
    const words = params.search.toLowerCase();
    const texts = (n: number) => [names[n]!, classes[labels[n]!] ?? "", classes[decisions.predicted[n]!]!];
    tests.push((n) => texts(n).some((text) => text.toLowerCase().includes(words)));
  }
  const rows: number[] = [];
  for (let n = 0; n < labels.length; n++) if (tests.every((test) => test(n))) rows.push(n);
  const { margin, trueMargin } = decisions;
  switch (params.sort) {
    case "close":
      return rows.sort((a, b) => margin[a]! - margin[b]!);
    case "clear":
      return rows.sort((a, b) => margin[b]! - margin[a]!);
    case "mistakes":
      return rows.sort((a, b) => (trueMargin[a]! || 0) - (trueMargin[b]! || 0));
    case "strange":
      return familiarity ? rows.sort((a, b) => familiarity[a]! - familiarity[b]!) : rows;
    case "name":
      return rows.sort((a, b) => names[a]!.localeCompare(names[b]!, "en", { numeric: true }));
    default:
      return rows;
  }
}

/** Where a concept is there or not, by the model or by the annotations. */
function says({ model }: Shown, concept: number, what: string): (n: number) => boolean {
  const count = model.phrases.length;
  const present = (n: number) =>
    isPresent(model, concept, model.low[concept]! + model.step[concept]! * model.levels[n * count + concept]!);
  const truth = (n: number) => (model.truth ? model.truth[n * count + concept]! : 2);
  switch (what) {
    case "absent":
      return (n) => !present(n);
    case "annotated":
      return (n) => truth(n) === 1;
    case "denied":
      return (n) => truth(n) === 0;
    case "mistaken":
      return (n) => truth(n) !== 2 && (truth(n) === 1) !== present(n);
    default:
      return present;
  }
}

/** How two models stand to each other on a picture. */
export function between(store: Store, what: string): (n: number) => boolean {
  const [first, second] = store.models;
  if (!second) return () => true;
  const [a, b] = [first!.decisions.predicted, second.decisions.predicted];
  const right = (predicted: Int32Array, n: number) => predicted[n] === store.labels[n];
  switch (what) {
    case "both":
      return (n) => right(a, n) && right(b, n);
    case "first":
      return (n) => right(a, n) && !right(b, n);
    case "second":
      return (n) => !right(a, n) && right(b, n);
    case "neither":
      return (n) => !right(a, n) && !right(b, n);
    default:
      return (n) => a[n] !== b[n];
  }
}


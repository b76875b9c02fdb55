// From concept activations to classes, as jaxcbm/model/prediction.py has it.

import type { Model } from "./payload";

/** Concept activations of a picture, as they are stored. */
export function activationsOf(model: Model, picture: number): Float64Array {
  const count = model.phrases.length;
  const found = new Float64Array(count);
  for (let d = 0; d < count; d++) found[d] = model.low[d]! + model.step[d]! * model.levels[picture * count + d]!;
  return found;
}

/** Class logits: the sparse head on activations. */
export function logitsOf(model: Model, activations: Float64Array): Float64Array {
  const found = Float64Array.from(model.bias);
  for (let k = 0; k < found.length; k++) {
    let sum = found[k]!;
    for (let i = model.starts[k]!; i < model.starts[k + 1]!; i++)
      sum += model.weights[i]! * activations[model.concepts[i]!]!;
    found[k] = sum;
  }
  return found;
}

/** Softmax of logits over the temperature. */
export function probabilitiesOf(logits: Float64Array, temperature: number): Float64Array {
  const highest = Math.max(...logits);
  const found = logits.map((logit) => Math.exp((logit - highest) / temperature));
  const sum = found.reduce((a, b) => a + b, 0);
  return found.map((value) => value / sum);
}

/** Positions of values, highest first; equal ones in their order. */
export function descending(values: ArrayLike<number>): number[] {
  return Array.from(values, (_, i) => i).sort((a, b) => values[b]! - values[a]! || a - b);
}

/** What each concept adds to a class, or to the difference of two: the weights, [D]. */
export function weightsOf(model: Model, target: number, against: number | null = null): Float64Array {
  const found = new Float64Array(model.phrases.length);
  const add = (k: number, sign: number) => {
    for (let i = model.starts[k]!; i < model.starts[k + 1]!; i++) found[model.concepts[i]!]! += sign * model.weights[i]!;
  };
  add(target, 1);
  if (against !== null) add(against, -1);
  return found;
}

/** How likely a concept is there; NaN where nothing tells. */
export function chanceOf(model: Model, concept: number, activation: number): number {
  const known = model.calibration;
  if (known === null) return NaN;
  return 0.5 + 0.5 * Math.tanh(0.5 * (known.slope[concept]! * activation + known.intercept[concept]!));
}

/** Whether a concept counts as there, see `Calibration.is_present`. */
export function isPresent(model: Model, concept: number, activation: number): boolean {
  const known = model.calibration;
  if (known === null) return activation >= 0;
  const chance = chanceOf(model, concept, activation);
  return Number.isNaN(chance) ? activation > known.mean[concept]! : chance > 0.5;
}

/** Share of train images with a lower activation; NaN if unknown. */
export function percentileOf(model: Model, concept: number, activation: number): number {
  const quantiles = model.calibration?.quantiles;
  if (!quantiles) return NaN;
  const count = model.phrases.length;
  const last = quantiles.length / count - 1;
  const at = (level: number) => quantiles[level * count + concept]!;
  let above = 0;
  while (above <= last && at(above) < activation) above++;
  if (above === 0) return 0;
  const upper = Math.min(above, last);
  const width = at(upper) - at(upper - 1);
  const part = Math.min(Math.max((activation - at(upper - 1)) / (width > 0 ? width : 1), 0), 1);
  return (upper - 1 + part) / last;
}

export interface Reason {
  concept: number;
  value: number;
  present: boolean;
  chance: number;
  percentile: number;
}

/** Contributions to a logit or a difference of two, largest first; those of 0 are left out. */
export function reasonsOf(
  model: Model,
  activations: Float64Array,
  target: number,
  against: number | null = null,
): Reason[] {
  const weights = weightsOf(model, target, against);
  const found: Reason[] = [];
  weights.forEach((weight, concept) => {
    const activation = activations[concept]!;
    const value = weight * (activation - (model.calibration?.neutral[concept] ?? 0));
    if (value !== 0)
      found.push({
        concept,
        value,
        present: isPresent(model, concept, activation),
        chance: chanceOf(model, concept, activation),
        percentile: percentileOf(model, concept, activation),
      });
  });
  return found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
}

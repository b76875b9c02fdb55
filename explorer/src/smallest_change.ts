// The fewest concepts that would have to be otherwise; jaxcbm/model/smallest_change.py.

import { descending, weightsOf } from "./decision";
import type { Model } from "./payload";

export interface Change {
  label: number;
  corrections: { concept: number; present: boolean; value: number; gain: number }[];
}

/** The smallest change that lets another class overtake, or null where none does. */
export function smallestChange(
  model: Model,
  activations: Float64Array,
  logits: Float64Array,
  decided: number,
  others: number[] | null = null,
): Change | null {
  const known = model.calibration;
  if (known === null) return null;
  const own = weightsOf(model, decided);
  let best: Change | null = null;
  for (const other of descending(logits)) {
    if (others === null ? other === decided : !others.includes(other)) continue;
    const margin = logits[decided]! - logits[other]!;
    const gains: Change["corrections"] = [];
    for (const [concept, theirs] of readBy(model, decided, other)) {
      const weight = theirs - own[concept]!;
      if (weight === 0) continue;
      const absent = weight * (known.absent[concept]! - activations[concept]!);
      const there = weight * (known.present[concept]! - activations[concept]!);
      const present = there > absent;
      const value = (present ? known.present : known.absent)[concept]!;
      gains.push({ concept, present, value, gain: present ? there : absent });
    }
    gains.sort((a, b) => b.gain - a.gain || a.concept - b.concept);
    let [sum, count] = [0, 0];
    while (sum <= margin && count < gains.length && gains[count]!.gain > 0) sum += gains[count++]!.gain;
    if (sum <= margin) continue;
    if (best === null || count < best.corrections.length) best = { label: other, corrections: gains.slice(0, count) };
  }
  return best;
}

/** The concepts that either of two classes reads, with their weights in the second one. */
function readBy(model: Model, first: number, second: number): Map<number, number> {
  const found = new Map<number, number>();
  for (let i = model.starts[first]!; i < model.starts[first + 1]!; i++) found.set(model.concepts[i]!, 0);
  for (let i = model.starts[second]!; i < model.starts[second + 1]!; i++) found.set(model.concepts[i]!, model.weights[i]!);
  return found;
}

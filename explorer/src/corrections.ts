// Concepts set by hand; jaxcbm/model/corrections.py and Model.intervene in the browser.

import { chanceOf, logitsOf, probabilitiesOf } from "./decision";
import type { Calibration, Model } from "./payload";

/** Concept -> the activation it is set to. */
export type Corrections = ReadonlyMap<number, number>;

/** Activations after corrections; with `carry` the other concepts move along. */
export function corrected(
  model: Model,
  activations: Float64Array,
  corrections: Corrections,
  carry: boolean,
): Float64Array {
  if (!corrections.size) return activations;
  const known = model.calibration;
  const found =
    carry && known?.frequencies
      ? carried(model, known, known.frequencies, activations, corrections)
      : Float64Array.from(activations);
  for (const [concept, value] of corrections) found[concept] = value;
  return found;
}

function softAnswer(known: Calibration, concept: number, value: number): number {
  const gap = known.present[concept]! - known.absent[concept]!;
  if (gap === 0) return 0.5;
  return Math.min(Math.max((value - known.absent[concept]!) / gap, 0), 1);
}

function carried(
  model: Model,
  known: Calibration,
  frequencies: ArrayLike<number>,
  activations: Float64Array,
  corrections: Corrections,
): Float64Array {
  const [classes, concepts] = [model.classes.length, model.phrases.length];
  const before = probabilitiesOf(logitsOf(model, activations), model.temperature);
  const evidence = before.map((probability) => Math.log(probability));
  for (const [concept, value] of corrections) {
    const answer = softAnswer(known, concept, value);
    for (let k = 0; k < classes; k++) {
      const frequency = frequencies[k * concepts + concept]!;
      evidence[k]! += answer * Math.log(frequency) + (1 - answer) * Math.log1p(-frequency);
    }
  }
  const after = probabilitiesOf(evidence, 1);
  return activations.map((activation, d) => {
    const chance = chanceOf(model, d, activation);
    const presence = Number.isNaN(chance) ? softAnswer(known, d, activation) : chance;
    let shift = 0;
    for (let k = 0; k < classes; k++) shift += (after[k]! - before[k]!) * frequencies[k * concepts + d]!;
    const shifted = Math.min(Math.max(presence + shift, 0), 1);
    return activation + (known.present[d]! - known.absent[d]!) * (shifted - presence);
  });
}

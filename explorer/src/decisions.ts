// What a model decides on all pictures: class, runner-up, margin and probability of each.

import { activationsOf, logitsOf } from "./decision";
import type { Model } from "./payload";

export interface Decisions {
  predicted: Int32Array;
  runnerUp: Int32Array;
  /** Logit of the predicted class less that of the runner-up. */
  margin: Float64Array;
  /** Logit of the true class less the highest other one; NaN where the class is unknown. */
  trueMargin: Float64Array;
  probability: Float64Array;
}

export function decide(model: Model, labels: ArrayLike<number>): Decisions {
  const count = labels.length;
  const found: Decisions = {
    predicted: new Int32Array(count),
    runnerUp: new Int32Array(count),
    margin: new Float64Array(count),
    trueMargin: new Float64Array(count).fill(NaN),
    probability: new Float64Array(count),
  };
  for (let n = 0; n < count; n++) {
    const logits = logitsOf(model, activationsOf(model, n));
    let [first, second] = [0, -1];
    for (let k = 1; k < logits.length; k++) {
      if (logits[k]! > logits[first]!) [first, second] = [k, first];
      else if (second < 0 || logits[k]! > logits[second]!) second = k;
    }
    let sum = 0;
    for (const logit of logits) sum += Math.exp((logit - logits[first]!) / model.temperature);
    found.predicted[n] = first;
    found.runnerUp[n] = second;
    found.margin[n] = second < 0 ? Infinity : logits[first]! - logits[second]!;
    found.probability[n] = 1 / sum;
    const label = labels[n]!;
    if (label >= 0) found.trueMargin[n] = label === first ? found.margin[n]! : logits[label]! - logits[first]!;
  }
  return found;
}

// The words for numbers and reasons; jaxcbm/model/wording.py.

import type { Trust } from "./payload";

const NO_NOUN =
  /^((has|have|with) )?(no|not|without|a few|a lot|a couple|a number|many|several|few|much|more|most|all|both|only|two|three|four|five|six|seven|eight|nine|ten|\d+|very|made|is|are|in|on|at|of|under|over|near|behind) /i;

/** A concept as it is there, or as it is not: with "no" where that can stand, else "not:". */
export function said(phrase: string, present: boolean): string {
  if (present) return phrase;
  if (NO_NOUN.test(phrase)) return `not: ${phrase}`;
  return phrase
    .replace(/^((?:has|have|with) )?(?:(?:an?|the|some) )?/i, (_, verb) => `${verb ?? ""}no `)
    .replace(/\b(or|nor) (?:an?|the|some) /gi, "$1 ");
}

/** What the last bar of a decision is. */
export const REST = "class bias and all others";
export const REST_MEANING = `“${REST}”: where the class starts from, and the sum of all concepts not shown.`;

/** What a model says of a picture; `truth` goes behind it. */
export const says = (name: string, probability: number) => `says ${name} ${percent(probability)}`;

/** What the picture is, beside what was said; "" where that is not known. */
export function truth(classes: string[], said: number, label: number): string {
  if (label < 0) return "";
  return label === said ? "✓ right" : `✗ is ${classes[label]}`;
}

/** How likely a concept is there; where nothing tells, how its score ranks among train images. */
export function chance(probability: number, percentile: number): string {
  if (!Number.isNaN(probability)) return `${percent(probability)} likely there`;
  return Number.isNaN(percentile) ? "" : `scores above ${(100 * percentile).toFixed(0)} % of train images`;
}

/** No chance between the two is called 0 or 100 %. */
export function percent(share: number): string {
  if (share < 0.01) return "under 1\u00a0%";
  return share > 0.99 ? "over 99\u00a0%" : `${(100 * share).toFixed(0)}\u00a0%`;
}

/** A share of things that were counted. */
export const shareOf = (part: number, whole: number) => (whole ? `${((100 * part) / whole).toFixed(1)}\u00a0%` : "–");

/** A value to two digits with its sign, a true minus. */
export function signed(value: number): string {
  const text = Math.abs(value).toFixed(2);
  if (text === "0.00") return text;
  return value < 0 ? `−${text}` : `+${text}`;
}

export const counted = (count: number, one: string, many = `${one}s`) =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Why not to trust a decision, in words; "" where nothing speaks against it. */
export function caution(trust: Trust | null, picture: number, probability: number): string {
  if (trust === null) return "";
  const share = (value: number) => `${(100 * value).toFixed(0)} %`;
  const familiar = trust.familiarity?.[picture] ?? NaN;
  if (familiar <= trust.unfamiliar) {
    const nearer = Number(Math.min(100 * (1 - familiar), 99.9).toPrecision(3));
    return `unlike all train images (${nearer} % of validation images are more like them): do not rely on the decision`;
  }
  const unsure = `unsure: the likeliest class has ${share(probability)}, and ${share(trust.leastProbability)} or more on 80 % of validation images`;
  const untold = "too few validation images to tell whether train has anything like it";
  return [probability < trust.leastProbability && unsure, Number.isNaN(familiar) && untold].filter(Boolean).join("; ");
}

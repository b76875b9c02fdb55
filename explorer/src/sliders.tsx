// A slider and a switch for every concept of a picture.

import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Corrections } from "./corrections";
import { chanceOf, descending, isPresent, percentileOf, weightsOf } from "./decision";
import { Link, Unseen, useLinks } from "./parts";
import type { Model } from "./payload";
import { chance, counted } from "./wording";

const SHOWN = 24;
const STEPS = 200;

interface SlidersProps {
  model: Model;
  picture: number;
  own: Float64Array;
  activations: Float64Array;
  corrections: Corrections;
  /** The two likeliest classes: what tells them apart comes first. */
  order: [number, number];
  onChange: (corrections: Corrections, moving?: boolean) => void;
}

export function Sliders(props: SlidersProps) {
  const { model, own, activations, corrections, order } = props;
  const search = useSignal("");
  const most = useSignal(SHOWN);
  // By the model's own activations, so that nothing moves under the pointer.
  const ranked = useMemo(() => {
    const [first, second] = order;
    const weights = weightsOf(model, first, second < 0 ? null : second);
    const neutral = model.calibration?.neutral;
    return descending(weights.map((weight, d) => Math.abs(weight * (own[d]! - (neutral?.[d] ?? 0))) + 1e-9 * Math.abs(weight)));
  }, [model, own]);
  const words = search.value.toLowerCase();
  const found = ranked.filter((d) => model.phrases[d]!.toLowerCase().includes(words));
  const set = (concept: number, value: number | null, moving = false) => {
    const next = new Map(corrections);
    if (value === null) next.delete(concept);
    else next.set(concept, value);
    props.onChange(next, moving);
  };
  return (
    <>
      <label class="field">
        <span>Find a concept</span>
        <input
          type="search"
          value={search.value}
          placeholder={counted(model.phrases.length, "concept")}
          onInput={(event) => {
            search.value = event.currentTarget.value;
            most.value = SHOWN;
          }}
        />
      </label>
      <p class="faint" role="status">
        {words ? `${counted(found.length, "concept")} found.` : "What tells the two likeliest classes apart comes first."}
      </p>
      <ul class="sliders">
        {found.slice(0, most.value).map((concept) => (
          <Slider
            key={concept}
            model={model}
            picture={props.picture}
            concept={concept}
            value={activations[concept]!}
            own={own[concept]!}
            changed={corrections.has(concept)}
            set={set}
          />
        ))}
      </ul>
      {found.length > most.value && (
        <button type="button" onClick={() => void (most.value += 4 * SHOWN)}>
          Show more of {counted(found.length, "concept")}
        </button>
      )}
    </>
  );
}

interface SliderProps {
  model: Model;
  picture: number;
  concept: number;
  value: number;
  own: number;
  changed: boolean;
  set: (concept: number, value: number | null, moving?: boolean) => void;
}

function Slider({ model, picture, concept, value, own, changed, set }: SliderProps) {
  const to = useLinks();
  const { calibration, phrases, truth } = model;
  const phrase = phrases[concept]!;
  const [low, high] = rangeOf(model, concept);
  const present = isPresent(model, concept, value);
  const words = chance(chanceOf(model, concept, value), percentileOf(model, concept, value));
  const told = truth?.[picture * phrases.length + concept] ?? 2;
  const buttons: [string, number, boolean][] = calibration
    ? [
        ["absent", calibration.absent[concept]!, false],
        ["present", calibration.present[concept]!, true],
      ]
    : [];
  return (
    <li class={changed ? "changed" : ""}>
      <div class="name">
        <Link to={to("concept", concept)}>{phrase}</Link>
        <small>
          {words}
          {told !== 2 && `${words && "; "}annotations: ${told ? "there" : "not there"}`}
        </small>
      </div>
      <input
        type="range"
        min={low}
        max={high}
        step={(high - low) / STEPS || 1}
        value={value}
        aria-label={phrase}
        aria-valuetext={`${value.toFixed(2)}, ${words || (present ? "there" : "not there")}`}
        onInput={(event) => set(concept, event.currentTarget.valueAsNumber, true)}
        onChange={(event) => set(concept, event.currentTarget.valueAsNumber)}
      />
      <div class="switch" role="group" aria-label={phrase}>
        {buttons.map(([name, to, there]) => (
          <button
            key={name}
            type="button"
            aria-pressed={present === there}
            onClick={() => set(concept, to)}
          >
            {name}
            <Unseen>: {phrase}</Unseen>
          </button>
        ))}
        <button
          type="button"
          class="back"
          disabled={!changed}
          title={`back to the model's ${own.toFixed(2)}`}
          onClick={() => set(concept, null)}
        >
          ↺<Unseen>the model's own value of {phrase}</Unseen>
        </button>
      </div>
    </li>
  );
}

/** The least and the greatest value that a concept has in any picture here, or in train. */
function rangeOf({ calibration, low, phrases, step }: Model, concept: number): [number, number] {
  const values = [low[concept]!, low[concept]! + 65535 * step[concept]!];
  if (calibration) {
    const count = phrases.length;
    const { quantiles, absent, present } = calibration;
    values.push(absent[concept]!, present[concept]!);
    values.push(quantiles[concept]!, quantiles[quantiles.length - count + concept]!);
  }
  return [Math.min(...values), Math.max(...values)];
}

// One concept, and the list of all.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { chanceOf, descending, isPresent, percentileOf } from "./decision";
import { Bars, Facts, Link, Strip, Title, useLinks } from "./parts";
import type { Model } from "./payload";
import { useStore } from "./store";
import { chance, counted, shareOf } from "./wording";

const PICTURES = 8;
const ROWS = 100;
const ALIKE = 6;

/** Activations of one concept in all pictures. */
function columnOf(model: Model, concept: number, pictures: number): Float64Array {
  const count = model.phrases.length;
  const found = new Float64Array(pictures);
  for (let n = 0; n < pictures; n++)
    found[n] = model.low[concept]! + model.step[concept]! * model.levels[n * count + concept]!;
  return found;
}

/** Class -> weight, of the classes that read each concept. */
function readersOf(model: Model): Map<number, [number, number][]> {
  const found = new Map<number, [number, number][]>();
  for (let k = 0; k < model.classes.length; k++)
    for (let i = model.starts[k]!; i < model.starts[k + 1]!; i++) {
      const concept = model.concepts[i]!;
      if (!found.has(concept)) found.set(concept, []);
      found.get(concept)!.push([k, model.weights[i]!]);
    }
  return found;
}

export function ConceptsView() {
  const { shown } = useStore();
  const to = useLinks();
  const search = useSignal("");
  const most = useSignal(ROWS);
  const { model } = shown.value;
  const readers = useMemo(() => readersOf(model), [model]);
  const words = search.value.toLowerCase();
  const found = model.phrases.map((_, d) => d).filter((d) => model.phrases[d]!.toLowerCase().includes(words));
  found.sort((a, b) => (readers.get(b)?.length ?? 0) - (readers.get(a)?.length ?? 0) || a - b);
  return (
    <>
      <Title>Concepts</Title>
      <form class="filters" role="search" aria-label="Filter concepts" onSubmit={(event) => event.preventDefault()}>
        <label class="field">
          <span>Search</span>
          <input type="search" value={search.value} onInput={(event) => void (search.value = event.currentTarget.value)} />
        </label>
      </form>
      <p role="status" class="count">
        {counted(found.length, "concept")}
      </p>
      <div class="wide" tabIndex={0} role="region" aria-label="Concepts">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">concept</th>
              <th scope="col">classes that read it</th>
              {model.auc && <th scope="col">AUC by annotations</th>}
            </tr>
          </thead>
          <tbody>
            {found.slice(0, most.value).map((d) => (
              <tr key={d}>
                <th scope="row">
                  <Link to={to("concept", d)}>{model.phrases[d]}</Link>
                </th>
                <td>{readers.get(d)?.length ?? 0}</td>
                {model.auc && <td>{Number.isNaN(model.auc[d]!) ? "–" : model.auc[d]!.toFixed(2)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {found.length > most.value && (
        <button type="button" onClick={() => void (most.value += 4 * ROWS)}>
          Show more
        </button>
      )}
    </>
  );
}

export function ConceptView() {
  const store = useStore();
  const to = useLinks();
  const { classes, names, route, shown } = store;
  const concept = route.value.id;
  const { model } = shown.value;
  const phrase = model.phrases[concept];
  const column = useMemo(() => (phrase ? columnOf(model, concept, names.length) : new Float64Array()), [model, concept]);
  const ranked = useMemo(() => descending(column), [column]);
  const together = useMemo(() => (phrase ? correlated(model, column, concept) : []), [column]);
  if (phrase === undefined) return <Title>There is no concept {concept}</Title>;
  const readers = (readersOf(model).get(concept) ?? []).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const present = column.reduce((sum, value) => sum + Number(isPresent(model, concept, value)), 0);
  const caption = (n: number) =>
    chance(chanceOf(model, concept, column[n]!), percentileOf(model, concept, column[n]!)) || column[n]!.toFixed(2);
  const { alike } = model;
  const meaning = Array.from({ length: alike.count }, (_, i) => i + concept * alike.count);
  return (
    <>
      <Title>{phrase}</Title>
      <Facts
        facts={[
          ["there, says the model, in", <Link to={to("pictures", null, { concept: phrase })}>{counted(present, "picture")}</Link>],
          ...truthOf(model, concept, column, (says) => to("pictures", null, { concept: phrase, says })),
        ]}
      />
      <section>
        <h2>Most of it</h2>
        <Strip pictures={ranked.slice(0, PICTURES)} label={caption} />
        <h2>Least of it</h2>
        <Strip pictures={ranked.slice(-PICTURES).reverse()} label={caption} />
      </section>
      <div class="columns">
        <section>
          <h2>Classes that read it</h2>
          {readers.length ? (
            <Bars
              caption="Weight of the concept in each"
              lines={readers.map(([k, value]) => ({ key: k, label: <Link to={to("class", k)}>{classes[k]}</Link>, value }))}
            />
          ) : (
            <p class="faint">No class reads it.</p>
          )}
        </section>
        <section>
          <h2>Neighbours</h2>
          <Neighbours
            caption="Alike in meaning, says the text encoder (cosine)"
            rows={meaning.map((i) => [alike.concepts[i]!, alike.cosines[i]!])}
          />
          <Neighbours caption="Together in these pictures (correlation)" rows={together} />
        </section>
      </div>
    </>
  );
}

function Neighbours({ caption, rows }: { caption: string; rows: [number, number][] }) {
  const { shown } = useStore();
  const to = useLinks();
  return (
    <table class="shares plain">
      <caption>{caption}</caption>
      <tbody>
        {rows.map(([d, value]) => (
          <tr key={d}>
            <th scope="row">
              <Link to={to("concept", d)}>{shown.value.model.phrases[d]}</Link>
            </th>
            <td class="number">{value.toFixed(2).replace("-", "−")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What annotations say of a concept beside what the model says. */
function truthOf(
  model: Model,
  concept: number,
  column: Float64Array,
  gallery: (says: string) => string,
): [string, ComponentChildren][] {
  const { auc, phrases, truth } = model;
  if (truth === null) return [];
  let [known, there, right] = [0, 0, 0];
  column.forEach((value, n) => {
    const told = truth[n * phrases.length + concept]!;
    if (told === 2) return;
    known += 1;
    there += told;
    right += Number((told === 1) === isPresent(model, concept, value));
  });
  if (!known) return [["annotations", "none"]];
  const ranks = auc === null || Number.isNaN(auc[concept]!) ? "–" : auc[concept]!.toFixed(3);
  return [
    ["there, say annotations, in", <Link to={gallery("annotated")}>{`${there} of ${known}`}</Link>],
    ["model and annotations agree", shareOf(right, known)],
    ["mistaken", <Link to={gallery("mistaken")}>{counted(known - right, "picture")}</Link>],
    ["AUC", ranks],
  ];
}

/** Concepts whose activations rise and fall with one, the closest first. */
function correlated(model: Model, column: Float64Array, concept: number): [number, number][] {
  const [pictures, concepts] = [column.length, model.phrases.length];
  const mean = column.reduce((a, b) => a + b, 0) / pictures;
  const sums = new Float64Array(concepts);
  const squares = new Float64Array(concepts);
  const products = new Float64Array(concepts);
  // In levels: what a level is worth does not matter to a correlation.
  for (let n = 0; n < pictures; n++) {
    const off = column[n]! - mean;
    for (let d = 0; d < concepts; d++) {
      const level = model.levels[n * concepts + d]!;
      sums[d]! += level;
      squares[d]! += level * level;
      products[d]! += level * off;
    }
  }
  const own = Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0));
  const found = products.map((product, d) => {
    const norm = Math.sqrt(Math.max(squares[d]! - sums[d]! ** 2 / pictures, 0)) * own;
    return d === concept || norm < 1e-9 ? 0 : product / norm;
  });
  return descending(found.map(Math.abs))
    .slice(0, ALIKE)
    .filter((d) => found[d] !== 0)
    .map((d) => [d, found[d]!]);
}

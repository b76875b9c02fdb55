// One class, and the list of all.

import { useMemo } from "preact/hooks";
import { activationsOf, descending, weightsOf } from "./decision";
import { Bars, Facts, Link, Strip, Title, useLinks } from "./parts";
import { useStore, type Store } from "./store";
import { counted, says, shareOf, signed, truth } from "./wording";

const PICTURES = 8;
const WEIGHTS = 24;

interface ClassCounts {
  pictures: number;
  right: number;
  predicted: number;
}

function countClasses(store: Store): ClassCounts[] {
  const { predicted } = store.shown.value.decisions;
  const counts = store.classes.map(() => ({ pictures: 0, right: 0, predicted: 0 }));
  for (let n = 0; n < predicted.length; n++) {
    const label = store.labels[n]!;
    if (label < 0) continue;
    counts[label]!.pictures += 1;
    counts[predicted[n]!]!.predicted += 1;
    if (label === predicted[n]) counts[label]!.right += 1;
  }
  return counts;
}

export function ClassesView() {
  const store = useStore();
  const to = useLinks();
  const { model } = store.shown.value;
  const counts = countClasses(store);
  return (
    <>
      <Title>Classes</Title>
      <div class="wide" tabIndex={0} role="region" aria-label="Classes">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">class</th>
              <th scope="col">pictures</th>
              <th scope="col">recognised</th>
              <th scope="col">right when said</th>
              <th scope="col">concepts</th>
            </tr>
          </thead>
          <tbody>
            {store.classes.map((name, k) => (
              <tr key={k}>
                <th scope="row">
                  <Link to={to("class", k)}>{name}</Link>
                </th>
                <td>{counts[k]!.pictures}</td>
                <td>{shareOf(counts[k]!.right, counts[k]!.pictures)}</td>
                <td>{shareOf(counts[k]!.right, counts[k]!.predicted)}</td>
                <td>{model.starts[k + 1]! - model.starts[k]!}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

export function ClassView() {
  const store = useStore();
  const to = useLinks();
  const { classes, labels, route, shown } = store;
  const k = route.value.id;
  const { model, decisions } = shown.value;
  const { predicted, probability, trueMargin } = decisions;
  if (!classes[k]) return <Title>There is no class {k}</Title>;
  const counts = countClasses(store)[k]!;
  const own = Array.from(labels, (_, n) => n).filter((n) => labels[n] === k);
  const byMargin = [...own].sort((a, b) => trueMargin[b]! - trueMargin[a]!);
  const typical = byMargin.filter((n) => predicted[n] === k).slice(0, PICTURES);
  const worst = [...byMargin].reverse().slice(0, PICTURES);
  const weights = weightsOf(model, k);
  const ranked = descending(weights.map(Math.abs)).filter((d) => weights[d] !== 0);
  const caption = (n: number) =>
    `${says(classes[predicted[n]!]!, probability[n]!)}, ${truth(classes, predicted[n]!, labels[n]!)}`;
  return (
    <>
      <Title>{classes[k]}</Title>
      {counts.pictures > 0 && (
        <Facts
          facts={[
            ["pictures", <Link to={to("pictures", null, { true: k })}>{counts.pictures}</Link>],
            ["recognised", shareOf(counts.right, counts.pictures)],
            ["said of", <Link to={to("pictures", null, { predicted: k })}>{counted(counts.predicted, "picture")}</Link>],
            ["right when said", shareOf(counts.right, counts.predicted)],
          ]}
        />
      )}
      <div class="columns">
        <section>
          <h2>What it is recognised by</h2>
          <Bars
            caption={`Weights of ${counted(ranked.length, "concept")}${ranked.length > WEIGHTS ? `, the ${WEIGHTS} largest` : ""}`}
            lines={ranked.slice(0, WEIGHTS).map((d) => ({
              key: d,
              label: <Link to={to("concept", d)}>{model.phrases[d]}</Link>,
              value: weights[d]!,
            }))}
          />
        </section>
        <section>
          <h2>Typical pictures</h2>
          <Strip pictures={typical} label={caption} />
          <h2>Worst pictures</h2>
          <Strip pictures={worst} label={caption} />
        </section>
      </div>
      <Mistakes of={k} />
    </>
  );
}

/** The classes that a class is taken for, and the concepts that speak for them. */
function Mistakes({ of }: { of: number }) {
  const store = useStore();
  const to = useLinks();
  const { classes, labels, shown } = store;
  const { model, decisions } = shown.value;
  const rows = useMemo(() => {
    const taken = new Map<number, number[]>();
    decisions.predicted.forEach((said, n) => {
      if (labels[n] === of && said !== of) taken.set(said, [...(taken.get(said) ?? []), n]);
    });
    return [...taken]
      .sort((a, b) => b[1].length - a[1].length || a[0] - b[0])
      .map(([other, pictures]) => {
        const weights = weightsOf(model, other, of);
        const sums = new Float64Array(weights.length);
        for (const n of pictures)
          activationsOf(model, n).forEach((activation, d) => {
            sums[d]! += (weights[d]! * (activation - (model.calibration?.neutral[d] ?? 0))) / pictures.length;
          });
        return { other, count: pictures.length, by: descending(sums).slice(0, 3).filter((d) => sums[d]! > 0), sums };
      });
  }, [model, of]);
  return (
    <section>
      <h2>Taken for</h2>
      {rows.length === 0 && <p class="faint">No picture of it is taken for another class.</p>}
      {rows.length > 0 && (
        <div class="wide" tabIndex={0} role="region" aria-label="Taken for">
          <table class="data">
            <thead>
              <tr>
                <th scope="col">class</th>
                <th scope="col">pictures</th>
                <th scope="col">by concepts that speak for it (mean)</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ other, count, by, sums }) => (
                <tr key={other}>
                  <th scope="row">
                    <Link to={to("class", other)}>{classes[other]}</Link>
                  </th>
                  <td>
                    <Link to={to("pictures", null, { true: of, predicted: other })}>{counted(count, "picture")}</Link>
                  </td>
                  <td class="text">
                    {by.map((d, i) => (
                      <>
                        {i > 0 && ", "}
                        <Link to={to("concept", d)}>{model.phrases[d]}</Link> {signed(sums[d]!)}
                      </>
                    ))}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

// Two models on the same pictures: where they differ, and by which concepts.

import { useMemo } from "preact/hooks";
import { activationsOf, descending, weightsOf } from "./decision";
import { Facts, Link, Strip, Title, useLinks } from "./parts";
import { between } from "./selection";
import { useStore, type Shown } from "./store";
import { counted, shareOf, signed } from "./wording";

const PICTURES = 12;
const ROWS = 15;
const CONCEPTS = 3;

export function CompareView() {
  const store = useStore();
  const to = useLinks();
  const { classes, labels, models, names } = store;
  if (models.length < 2) return <Title>There is one model only: --against adds another one</Title>;
  const [first, second] = models as [Shown, Shown];
  const all = names.map((_, n) => n);
  const known = all.filter((n) => labels[n]! >= 0);
  const of = (what: string, rows = known) => rows.filter(between(store, what));
  const gallery = (what: string, text: string) => <Link to={to("pictures", null, { between: what })}>{text}</Link>;
  const differ = of("differ", all);
  const right = (shown: Shown) => known.filter((n) => shown.decisions.predicted[n] === labels[n]).length;
  const caption = (n: number) =>
    models.map(({ decisions }) => classes[decisions.predicted[n]!]).join(" / ");
  return (
    <>
      <Title>
        {first.model.name} and {second.model.name}
      </Title>
      <Facts
        facts={[
          ...(known.length
            ? ([
                [`${first.model.name} is right`, shareOf(right(first), known.length)],
                [`${second.model.name} is right`, shareOf(right(second), known.length)],
                ["both are right", gallery("both", counted(of("both").length, "picture"))],
                [`only ${first.model.name}`, gallery("first", counted(of("first").length, "picture"))],
                [`only ${second.model.name}`, gallery("second", counted(of("second").length, "picture"))],
                ["neither is right", gallery("neither", counted(of("neither").length, "picture"))],
              ] as [string, string][])
            : []),
          ["they differ on", gallery("differ", counted(differ.length, "picture"))],
        ]}
      />
      <section>
        <h2>Where they differ most</h2>
        <Strip pictures={mostApart(first, second, differ).slice(0, PICTURES)} label={caption} />
      </section>
      <Pairs first={first} second={second} rows={differ} />
    </>
  );
}

/** Pictures on which both models are sure of another class. */
function mostApart(first: Shown, second: Shown, rows: number[]): number[] {
  const sure = (n: number) => Math.min(first.decisions.probability[n]!, second.decisions.probability[n]!);
  return [...rows].sort((a, b) => sure(b) - sure(a));
}

/** Which class one model says where the other says another, and the concepts behind it. */
function Pairs({ first, second, rows }: { first: Shown; second: Shown; rows: number[] }) {
  const { classes } = useStore();
  const to = useLinks();
  const pairs = useMemo(() => {
    const groups = new Map<string, number[]>();
    for (const n of rows) {
      const key = `${first.decisions.predicted[n]} ${second.decisions.predicted[n]}`;
      groups.set(key, [...(groups.get(key) ?? []), n]);
    }
    return [...groups.values()].sort((a, b) => b.length - a.length).slice(0, ROWS);
  }, [rows.length]);
  return (
    <section>
      <h2>Which classes, and why</h2>
      <div class="wide" tabIndex={0} role="region" aria-label="Which classes, and why">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">{first.model.name} says</th>
              <th scope="col">{second.model.name} says</th>
              <th scope="col">pictures</th>
              <th scope="col">what tells the two apart in {first.model.name}</th>
              <th scope="col">and in {second.model.name}</th>
            </tr>
          </thead>
          <tbody>
            {pairs.map((pictures) => {
              const [a, b] = [first, second].map(({ decisions }) => decisions.predicted[pictures[0]!]!) as [number, number];
              const search = to("pictures", null, { predicted: a, between: "differ" });
              return (
                <tr key={`${a} ${b}`}>
                  <th scope="row">
                    <Link to={to("class", a)}>{classes[a]}</Link>
                  </th>
                  <td>
                    <Link to={to("class", b)}>{classes[b]}</Link>
                  </td>
                  <td>
                    <Link to={pictures.length === 1 ? to("picture", pictures[0]!) : search}>
                      {counted(pictures.length, "picture")}
                    </Link>
                  </td>
                  <td class="text">{speaking(first, pictures, a, b)}</td>
                  <td class="text">{speaking(second, pictures, b, a)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** The concepts that speak most for one class beside another, in the mean of some pictures. */
function speaking({ model }: Shown, pictures: number[], target: number, against: number): string {
  const weights = weightsOf(model, target, against);
  const sums = new Float64Array(weights.length);
  for (const n of pictures)
    activationsOf(model, n).forEach((activation, d) => {
      sums[d]! += (weights[d]! * (activation - (model.calibration?.neutral[d] ?? 0))) / pictures.length;
    });
  const strongest = descending(sums).slice(0, CONCEPTS);
  return strongest.map((d) => `${model.phrases[d]} ${signed(sums[d]!)}`).join(", ");
}

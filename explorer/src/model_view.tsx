// The model as a whole: how often it is right, whether it is as sure as it should be, how sparse.

import type { JSX } from "preact";
import { Chart, type Curve } from "./charts";
import { Confusion } from "./confusion";
import { Facts, Link, Title, useLinks } from "./parts";
import { useStore } from "./store";
import { counted, shareOf } from "./wording";

export function ModelView() {
  const { classes, labels, shown } = useStore();
  const to = useLinks();
  const { model, decisions } = shown.value;
  const known = Array.from(labels, (_, n) => n).filter((n) => labels[n]! >= 0);
  const right = known.filter((n) => labels[n] === decisions.predicted[n]).length;
  const used = new Set(model.concepts).size;
  const familiarity = model.trust?.familiarity;
  const strange = familiarity ? Array.from(familiarity).filter((x) => x <= model.trust!.unfamiliar).length : null;
  return (
    <>
      <Title>{model.name}</Title>
      <Facts
        facts={[
          ["encoder", model.encoder],
          ["classes", <Link to={to("classes")}>{classes.length}</Link>],
          ["concepts", <Link to={to("concepts")}>{`${model.phrases.length}, ${used} of them used`}</Link>],
          ["concepts a class", (model.weights.length / classes.length).toFixed(1)],
          ["pictures", <Link to={to("pictures")}>{labels.length.toLocaleString("en")}</Link>],
          ...(known.length ? ([["right", shareOf(right, known.length)]] as [string, string][]) : []),
          ...(strange === null
            ? []
            : ([["unlike all train images", <Link to={to("pictures", null, { familiar: "no" })}>{counted(strange, "picture")}</Link>]] as [string, JSX.Element][])),
          ...model.edits.map((edit, i): [string, string] => [`edit ${i + 1}`, edit]),
        ]}
      />
      {known.length > 0 && (
        <section>
          <h2>What it takes for what</h2>
          <Confusion />
        </section>
      )}
      <div class="columns">
        {model.reliability.length > 0 && <Calibrated />}
        {model.nec && <Sparsity />}
      </div>
    </>
  );
}

function Calibrated() {
  const { reliability } = useStore().shown.value.model;
  const pictures = reliability.reduce((sum, group) => sum + group.pictures, 0);
  return (
    <section>
      <h2>Is it as sure as it should be?</h2>
      <Chart
        title={`Reliability: ${counted(pictures, "picture")} in ${counted(reliability.length, "group")} of rising probability`}
        x="probability of the predicted class"
        y="share right"
        curves={[{ name: "these pictures", points: reliability.map(({ said, right }) => [said, right]), color: "c0", dots: true }]}
        range={{ x: [0, 1], y: [0, 1] }}
        shares={{ x: true, y: true }}
        diagonal
      />
    </section>
  );
}

function Sparsity() {
  const { nec, phrases } = useStore().shown.value.model;
  const { valid, test, chosen } = nec!;
  const curves: Curve[] = [{ name: "validation, each head of the path", points: valid, color: "c0" }];
  if (test.length) curves.push({ name: "test, heads of 5, 10, ... concepts", points: test, color: "c1", dots: true });
  const widest = Math.min(Math.max(chosen * 1.2, 32), phrases.length);
  for (const curve of curves) curve.points = curve.points.filter(([nec]) => nec <= widest);
  return (
    <section>
      <h2>How few concepts does it need?</h2>
      <Chart
        title="Accuracy against concepts a class (NEC)"
        x="concepts a class"
        y="share right"
        curves={curves}
        range={{ x: [0, widest], y: [0, 1] }}
        shares={{ y: true }}
        mark={{ x: chosen, name: "this model" }}
      />
    </section>
  );
}

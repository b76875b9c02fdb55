// The confusion matrix as a picture, and its largest mistakes as a table.

import { useMemo } from "preact/hooks";
import { Link, useLinks } from "./parts";
import { useStore } from "./store";
import { counted } from "./wording";

const LISTED = 20;
const SIDE = 560;

export function Confusion() {
  const { classes, go, labels, shown } = useStore();
  const to = useLinks();
  const { predicted } = shown.value.decisions;
  const cells = useMemo(() => {
    const counts = new Map<number, number>();
    predicted.forEach((said, n) => {
      const label = labels[n]!;
      if (label >= 0) counts.set(label * classes.length + said, (counts.get(label * classes.length + said) ?? 0) + 1);
    });
    return [...counts].map(([at, count]) => ({ label: Math.floor(at / classes.length), said: at % classes.length, count }));
  }, [predicted]);
  const count = classes.length;
  const named = count <= 20;
  const margin = named ? 130 : 20;
  const size = (SIDE - margin) / count;
  const most = new Float64Array(count);
  for (const { label, count: pictures } of cells) most[label]! += pictures;
  const mistakes = cells.filter(({ label, said }) => label !== said).sort((a, b) => b.count - a.count);
  const gallery = (label: number, said: number) => to("pictures", null, { true: label, predicted: said });
  return (
    <div class="columns">
      <figure class="chart">
        <figcaption>Confusion matrix: rows are true classes, columns predicted ones; a click shows the pictures</figcaption>
        <svg
          class="confusion"
          viewBox={`0 0 ${SIDE} ${SIDE}`}
          role="img"
          aria-label="Confusion matrix; its largest mistakes stand in the table beside it"
        >
          <rect class="ground" x={margin} y={margin} width={SIDE - margin} height={SIDE - margin} />
          {cells.map(({ label, said, count: pictures }) => (
            <g key={`${label} ${said}`} class="cell" onClick={() => go(gallery(label, said))}>
              <rect
                class={label === said ? "diagonal" : "mistake"}
                x={margin + said * size}
                y={margin + label * size}
                width={size}
                height={size}
                fill-opacity={0.12 + 0.88 * Math.sqrt(pictures / most[label]!)}
              >
                <title>{`${classes[label]} as ${classes[said]}: ${counted(pictures, "picture")}`}</title>
              </rect>
              {named && (
                <text x={margin + (said + 0.5) * size} y={margin + (label + 0.5) * size + 5} text-anchor="middle"
                  class={pictures / most[label]! > 0.3 ? "on" : ""}>
                  {pictures}
                </text>
              )}
            </g>
          ))}
          {named ? (
            classes.map((name, k) => (
              <g key={name}>
                <text x={margin - 6} y={margin + (k + 0.5) * size + 5} text-anchor="end">
                  {name}
                </text>
                <text transform={`translate(${margin + (k + 0.5) * size + 5} ${margin - 6}) rotate(-90)`}>{name}</text>
              </g>
            ))
          ) : (
            <>
              <text x={(margin + SIDE) / 2} y={13} text-anchor="middle">
                predicted class
              </text>
              <text transform={`translate(13 ${(margin + SIDE) / 2}) rotate(-90)`} text-anchor="middle">
                true class
              </text>
            </>
          )}
        </svg>
      </figure>
      <div class="wide" tabIndex={0} role="region" aria-label="Largest mistakes">
        <table class="data">
          <caption>Largest mistakes</caption>
          <thead>
            <tr>
              <th scope="col">true class</th>
              <th scope="col">taken for</th>
              <th scope="col">pictures</th>
            </tr>
          </thead>
          <tbody>
            {mistakes.slice(0, LISTED).map(({ label, said, count: pictures }) => (
              <tr key={`${label} ${said}`}>
                <th scope="row">
                  <Link to={to("class", label)}>{classes[label]}</Link>
                </th>
                <td>
                  <Link to={to("class", said)}>{classes[said]}</Link>
                </td>
                <td>
                  <Link to={gallery(label, said)}>{counted(pictures, "picture")}</Link>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

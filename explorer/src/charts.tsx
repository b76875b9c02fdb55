// Line charts with axes, and the numbers behind them as a table.

import { Fragment } from "preact";

export interface Curve {
  name: string;
  points: [number, number][];
  color: string;
  dots?: boolean;
}

interface ChartProps {
  title: string;
  x: string;
  y: string;
  curves: Curve[];
  range: { x: [number, number]; y: [number, number] };
  shares?: { x?: boolean; y?: boolean };
  diagonal?: boolean;
  mark?: { x: number; name: string };
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [440, 270, 52, 44, 12, 16];

/** Round numbers across a range. */
export function ticks([low, high]: [number, number], about = 5): number[] {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough)!;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

const text = (value: number, share?: boolean) => (share ? `${+(100 * value).toFixed(1)} %` : String(+value.toFixed(2)));

export function Chart({ title, x, y, curves, range, shares = {}, diagonal, mark }: ChartProps) {
  const across = (value: number) => LEFT + ((value - range.x[0]) / (range.x[1] - range.x[0])) * (WIDTH - LEFT - RIGHT);
  const up = (value: number) => HEIGHT - BOTTOM - ((value - range.y[0]) / (range.y[1] - range.y[0])) * (HEIGHT - BOTTOM - TOP);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}: ${y} by ${x}; numbers below`}>
        {ticks(range.x).map((value) => (
          <Fragment key={value}>
            <line class="rule" x1={across(value)} x2={across(value)} y1={TOP} y2={HEIGHT - BOTTOM} />
            <text x={across(value)} y={HEIGHT - BOTTOM + 16} text-anchor="middle">
              {text(value, shares.x)}
            </text>
          </Fragment>
        ))}
        {ticks(range.y).map((value) => (
          <Fragment key={value}>
            <line class="rule" x1={LEFT} x2={WIDTH - RIGHT} y1={up(value)} y2={up(value)} />
            <text x={LEFT - 6} y={up(value) + 4} text-anchor="end">
              {text(value, shares.y)}
            </text>
          </Fragment>
        ))}
        <text x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 8} text-anchor="middle">
          {x}
        </text>
        {diagonal && (
          <line class="ideal" x1={across(range.x[0])} y1={up(range.x[0])} x2={across(range.x[1])} y2={up(range.x[1])} />
        )}
        {mark && (
          <>
            <line class="ideal" x1={across(mark.x)} x2={across(mark.x)} y1={TOP} y2={HEIGHT - BOTTOM} />
            <text x={across(mark.x) + 4} y={HEIGHT - BOTTOM - 6}>
              {mark.name}
            </text>
          </>
        )}
        {curves.map(({ name, points, color, dots }) => (
          <g key={name} style={{ color: `var(--${color})` }}>
            <polyline class="curve" points={points.map(([a, b]) => `${across(a)},${up(b)}`).join(" ")} />
            {dots &&
              points.map(([a, b]) => (
                <circle key={a} cx={across(a)} cy={up(b)} r={4}>
                  <title>{`${name}: ${text(a, shares.x)}, ${text(b, shares.y)}`}</title>
                </circle>
              ))}
          </g>
        ))}
      </svg>
      <ul class="key">
        {curves.map(({ name, color }) => (
          <li key={name}>
            <i style={{ background: `var(--${color})` }} />
            {name}
          </li>
        ))}
      </ul>
      <details>
        <summary>Numbers</summary>
        <div class="wide" tabIndex={0} role="region" aria-label={`Numbers of ${title}`}>
          <table class="data">
            <thead>
              <tr>
                <th scope="col">curve</th>
                <th scope="col">{x}</th>
                <th scope="col">{y}</th>
              </tr>
            </thead>
            <tbody>
              {curves.flatMap(({ name, points }) =>
                points.map(([a, b]) => (
                  <tr key={`${name} ${a}`}>
                    <th scope="row">{name}</th>
                    <td>{text(a, shares.x)}</td>
                    <td>{text(b, shares.y)}</td>
                  </tr>
                )),
              )}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

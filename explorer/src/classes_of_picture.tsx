// The likeliest classes of a picture.

import { descending } from "./decision";
import { Link, useLinks } from "./parts";
import { useStore } from "./store";
import { percent } from "./wording";

const MOST = 5;

export function Classes({ probabilities, label }: { probabilities: Float64Array; label: number }) {
  const { classes, shown } = useStore();
  const to = useLinks();
  const ranked = descending(probabilities);
  const kept = ranked.slice(0, MOST);
  if (label >= 0 && !kept.includes(label)) kept[kept.length - 1] = label;
  const trust = shown.value.model.trust;
  const threshold = trust?.setThreshold;
  const set = ranked.filter((k, i) => i === 0 || probabilities[k]! >= threshold!);
  return (
    <>
      <table class="shares">
        <caption>Likeliest classes</caption>
        <tbody>
          {kept.map((k) => (
            <tr key={k}>
              <th scope="row">
                <Link to={to("class", k)}>{classes[k]}</Link>
                {k === label && <small> true class</small>}
              </th>
              <td class="number">
                <data value={probabilities[k]!}>{percent(probabilities[k]!)}</data>
              </td>
              <td class="bar" aria-hidden="true">
                <div>
                  <i style={{ left: "0", width: `${100 * probabilities[k]!}%` }} />
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {threshold !== undefined && (
        <p class="faint">
          {set.length === classes.length
            ? trust!.familiarity
              ? "It may be any class (95 % coverage)."
              : "Too few validation images to leave any class out."
            : set.length > 4
              ? `It may be any of ${set.length} classes (95 % coverage).`
              : `${set.map((k) => classes[k]).join(" or ")} (95 % coverage).`}
        </p>
      )}
    </>
  );
}

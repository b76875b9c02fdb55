// Small parts that several views are made of.

import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { Reason } from "./decision";
import { link, type View } from "./route";
import { useStore } from "./store";
import { chance, said, signed } from "./wording";

// Reasons of a decision that are listed.
const SHOWN = 8;

/** Makes links that keep the chosen model. */
export function useLinks() {
  const { which } = useStore();
  const model = which.value || undefined;
  return (view: View, id: number | null = null, params: Record<string, string | number | undefined> = {}) =>
    link(view, id, { ...params, model });
}

interface LinkProps {
  to: string;
  class?: string;
  title?: string;
  tabIndex?: 0 | -1;
  "aria-current"?: "page" | "true";
  children: ComponentChildren;
}

/** A link within the explorer. */
export function Link({ to, ...rest }: LinkProps) {
  const { go } = useStore();
  const follow = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(to);
  };
  return <a {...rest} href={to} onClick={follow} />;
}

export function Title({ children }: { children: ComponentChildren }) {
  return <h1 tabIndex={-1}>{children}</h1>;
}

export function Thumbnail({ picture, alt = "", big = false }: { picture: number; alt?: string; big?: boolean }) {
  const { thumbnails } = useStore();
  return (
    <img
      class={big ? "big" : "small"}
      src={`data:image/webp;base64,${thumbnails[picture]}`}
      alt={alt}
      decoding="async"
      draggable={false}
    />
  );
}

export interface Line {
  key: string | number;
  label: ComponentChildren;
  note?: string;
  value: number;
}

/** Signed values as bars to the left and right of zero, with a name and a number each. */
export function Bars({ caption, lines, neutral }: { caption: string; lines: Line[]; neutral?: string | number }) {
  const values = lines.map((line) => line.value);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const span = high - low || 1;
  return (
    <table class="bars">
      <caption>{caption}</caption>
      <tbody>
        {lines.map(({ key, label, note, value }) => (
          <tr key={key}>
            <th scope="row">
              {label}
              {note && <small>{note}</small>}
            </th>
            <td class="number">{signed(value)}</td>
            <td class="bar" aria-hidden="true">
              <div>
                <i
                  class={key === neutral ? "neutral" : value < 0 ? "negative" : "positive"}
                  style={{
                    left: `${(100 * (Math.min(value, 0) - low)) / span}%`,
                    width: `${(100 * Math.abs(value)) / span}%`,
                  }}
                />
                <u style={{ left: `${(-100 * low) / span}%` }} />
              </div>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface ReasonsProps {
  caption: string;
  reasons: Reason[];
  /** What all reasons add up to, with what is called `rest`. */
  total: number;
  rest: string;
  picture: number;
  /** Position of the model whose reasons they are. */
  which: number;
}

/** The strongest reasons as bars, what is left of the sum as a last one. */
export function Reasons({ caption, reasons, total, rest, picture, which }: ReasonsProps) {
  const { phrases, truth } = useStore().models[which]!.model;
  const kept = reasons.slice(0, SHOWN);
  const lines: Line[] = kept.map((reason) => {
    const told = truth?.[picture * phrases.length + reason.concept] ?? 2;
    const denied = told !== 2 && (told === 1) !== reason.present;
    const to = link("concept", reason.concept, { model: which || undefined });
    return {
      key: reason.concept,
      label: <Link to={to}>{said(phrases[reason.concept]!, reason.present)}</Link>,
      note: chance(reason.chance, reason.percentile) + (denied ? "; false, say the annotations" : ""),
      value: reason.value,
    };
  });
  const left = total - kept.reduce((sum, reason) => sum + reason.value, 0);
  return <Bars caption={caption} lines={[...lines, { key: "rest", label: rest, value: left }]} neutral="rest" />;
}

/** Pictures side by side, each a link to its own view. */
export function Strip({ pictures, label }: { pictures: number[]; label: (picture: number) => string }) {
  const to = useLinks();
  const { names } = useStore();
  if (!pictures.length) return <p class="faint">None.</p>;
  return (
    <ul class="strip">
      {pictures.map((picture) => (
        <li key={picture}>
          <Link to={to("picture", picture)} title={names[picture]!}>
            <Thumbnail picture={picture} />
            <span>{label(picture)}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}

/** Names and values. */
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A named choice among texts. */
export function Choice(props: {
  label: string;
  value: string;
  options: [string, string][];
  onChange: (value: string) => void;
}) {
  const { options } = props;
  // The same elements as long as the options are: a thousand classes cost nothing then.
  const elements = useMemo(
    () =>
      options.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      )),
    [options],
  );
  return (
    <label class="field">
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {elements}
      </select>
    </label>
  );
}

/** What a screen reader hears beside what is seen. */
export const Unseen = ({ children }: { children: ComponentChildren }) => <span class="unseen">{children}</span>;

// Which view is shown, as text that a link can hold: #/picture/12?set=5:0.5

export type View = "pictures" | "picture" | "classes" | "class" | "concepts" | "concept" | "model" | "compare";
export type Params = Readonly<Record<string, string>>;

export interface Route {
  view: View;
  id: number;
  params: Params;
}

const VIEWS: readonly string[] = ["pictures", "picture", "classes", "class", "concepts", "concept", "model", "compare"];

/** The route that a link names; the pictures where it names none. */
export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const [view = "", id = ""] = path.split("/");
  const params = Object.fromEntries(new URLSearchParams(query));
  return { view: VIEWS.includes(view) ? (view as View) : "pictures", id: Number(id) || 0, params };
}

/** The link to a route; parameters without a value are left out. */
export function link(view: View, id: number | null = null, params: Record<string, string | number | undefined> = {}): string {
  const kept = Object.entries(params).filter(([, value]) => value !== undefined && value !== "");
  const query = kept.map(([name, value]) => `${name}=${encodeURIComponent(String(value)).replace(/%3A/g, ":").replace(/%2C/g, ",")}`);
  return `#/${view}${id === null ? "" : `/${id}`}${query.length ? `?${query.join("&")}` : ""}`;
}

/** Corrections as text: 5:0.25,7:1 */
export const written = (corrections: ReadonlyMap<number, number>) =>
  [...corrections].map(([concept, value]) => `${concept}:${value}`).join(",");

/** Corrections from text; what is no number of a known concept is left out. */
export function read(text: string | undefined, concepts: number): Map<number, number> {
  const pairs = (text ?? "").split(",").map((pair) => pair.split(":").map(Number) as [number, number]);
  return new Map(
    pairs.filter(([d, value]) => Number.isInteger(d) && d >= 0 && d < concepts && Number.isFinite(value)),
  );
}

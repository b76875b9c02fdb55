// What all views share: the data, which view is shown, and which model.

import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { decide, type Decisions } from "./decisions";
import { unpack, unpackModel, type Model, type Payload } from "./payload";
import { parse, type Route, type View } from "./route";

/** What a person set by hand on one picture, by phrase. */
export interface Corrected {
  picture: string;
  model: string;
  corrections: Record<string, number>;
  carry: boolean;
}

export interface Options {
  /** Called whenever concepts of a picture are set by hand. */
  onCorrections?: (corrected: Corrected) => void;
  /** Whether the address of the page follows the view; false inside another page. */
  links?: boolean;
  /** Colours of what is around, until a person chooses others; without it, the system's. */
  theme?: ReadonlySignal<"light" | "dark">;
}

export interface Shown {
  model: Model;
  decisions: Decisions;
}

export interface Store {
  title: string;
  classes: string[];
  names: string[];
  thumbnails: string[];
  labels: ArrayLike<number>;
  models: Shown[];
  /** Position of the model that is looked at. */
  which: ReadonlySignal<number>;
  shown: ReadonlySignal<Shown>;
  route: Signal<Route>;
  theme: Signal<"" | "light" | "dark">;
  /** Pictures in the order of the gallery as it was last seen. */
  order: Signal<number[]>;
  /** The view before this one. */
  before(): View | null;
  /** The picture that was last looked at. */
  active: Signal<number>;
  options: Options;
  /** What hears keys: the window, or within another page the explorer alone. */
  keys: EventTarget;
  go(hash: string, replace?: boolean): void;
  close(): void;
}

export function makeStore(payload: Payload, options: Options, element: HTMLElement): Store {
  const labels = unpack(payload.labels);
  const models = payload.models.map((packed) => {
    const model = unpackModel(packed, payload.classes);
    return { model, decisions: decide(model, labels) };
  });
  const links = options.links ?? false;
  const route = signal(parse(links ? location.hash : ""));
  const which = computed(() => (route.value.params.model === "1" && models.length > 1 ? 1 : 0));
  let before: View | null = null;
  const show = (next: Route) => {
    if (next.view !== route.peek().view) before = route.peek().view;
    route.value = next;
  };
  const follow = () => show(parse(location.hash));
  if (links) addEventListener("hashchange", follow);
  return {
    title: payload.title,
    classes: payload.classes,
    names: payload.names,
    thumbnails: payload.thumbnails,
    labels,
    models,
    which,
    shown: computed(() => models[which.value]!),
    route,
    theme: signal<"" | "light" | "dark">(""),
    order: signal<number[]>([]),
    before: () => before,
    active: signal(0),
    options,
    keys: links ? window : element,
    go(hash, replace = false) {
      if (!links) show(parse(hash));
      else if (replace) {
        history.replaceState(null, "", hash);
        follow();
      } else {
        location.hash = hash;
        follow();
      }
    },
    close: () => removeEventListener("hashchange", follow),
  };
}

export const StoreContext = createContext<Store | null>(null);

export function useStore(): Store {
  return useContext(StoreContext)!;
}

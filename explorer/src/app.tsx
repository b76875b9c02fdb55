// The frame of all views: where one is, which model, light or dark.

import type { ComponentChild } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ClassesView, ClassView } from "./class_view";
import { CompareView } from "./compare_view";
import { ConceptsView, ConceptView } from "./concept_view";
import { Gallery } from "./gallery";
import { ModelView } from "./model_view";
import { Choice, Link, useLinks } from "./parts";
import { PictureView } from "./picture";
import { link, type View } from "./route";
import { useStore } from "./store";

const VIEWS: Record<View, () => ComponentChild> = {
  pictures: Gallery,
  picture: PictureView,
  classes: ClassesView,
  class: ClassView,
  concepts: ConceptsView,
  concept: ConceptView,
  model: ModelView,
  compare: CompareView,
};
const PLACES: [View, string, View[]][] = [
  ["pictures", "Pictures", ["picture"]],
  ["classes", "Classes", ["class"]],
  ["concepts", "Concepts", ["concept"]],
  ["model", "Model", []],
  ["compare", "Compare", []],
];

export function App() {
  const store = useStore();
  const { models, options, route, theme, title, which } = store;
  const to = useLinks();
  const main = useRef<HTMLElement>(null);
  const { view, id, params } = route.value;
  useArrival(main);
  const Shown = VIEWS[view];
  return (
    <div class="explorer" data-theme={theme.value || options.theme?.value}>
      <a
        class="skip"
        href="#explorer-content"
        onClick={(event) => {
          event.preventDefault();
          main.current?.querySelector("h1")?.focus();
        }}
      >
        To the content
      </a>
      <header>
        <span class="title">{title}</span>
        <nav aria-label="Views">
          {PLACES.filter(([place]) => place !== "compare" || models.length > 1).map(([place, name, within]) => (
            <Link
              key={place}
              to={to(place)}
              aria-current={view === place ? "page" : within.includes(view) ? "true" : undefined}
            >
              {name}
            </Link>
          ))}
        </nav>
        {models.length > 1 && (
          <Choice
            label="Model"
            value={String(which.value)}
            options={models.map(({ model }, i) => [String(i), model.name])}
            onChange={(value) => {
              const { set: _set, carry: _carry, ...kept } = params;
              const byId = ["picture", "class"].includes(view);
              const same = view === "concept" ? "concepts" : view;
              store.go(link(same, byId ? id : null, { ...kept, model: value === "1" ? 1 : undefined }), true);
            }}
          />
        )}
        <Choice
          label="Colours"
          value={theme.value}
          options={[
            ["", options.theme ? "notebook" : "system"],
            ["light", "light"],
            ["dark", "dark"],
          ]}
          onChange={(value) => void (theme.value = value as "" | "light" | "dark")}
        />
      </header>
      <main ref={main} id="explorer-content" data-view={view}>
        <Shown key={`${view} ${id}`} />
      </main>
    </div>
  );
}

/** Once another view is there: its name in the window's title, and focus on its heading. */
function useArrival(main: { current: HTMLElement | null }) {
  const { options, route, title } = useStore();
  const { view, id } = route.value;
  const first = useRef(true);
  useEffect(() => {
    const heading = main.current?.querySelector("h1");
    if (options.links) document.title = `${heading?.textContent ?? ""} – ${title}`;
    if (!first.current && view !== "pictures") {
      heading?.focus({ preventScroll: options.links ?? false });
      if (options.links) scrollTo(0, 0);
    }
    first.current = false;
  }, [view, id]);
}

// All pictures: filters above, tiles below.

import { useComputed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Grid } from "./grid";
import { Choice, Link, Thumbnail, Title, Unseen, useLinks } from "./parts";
import { link } from "./route";
import { OUTCOMES, select, SORTS } from "./selection";
import { useStore } from "./store";
import { counted, percent, shareOf, truth } from "./wording";

const TILE = 178;
const ALL: [string, string] = ["", "all"];

export function Gallery() {
  const store = useStore();
  const { labels, route, names, order } = store;
  const rows = useComputed(() => select(store, route.value.params)).value;
  useEffect(() => void (order.value = rows), [rows]);
  const { predicted } = store.shown.value.decisions;
  const known = rows.filter((n) => labels[n]! >= 0);
  const right = known.filter((n) => labels[n] === predicted[n]).length;
  const start = Math.max(rows.indexOf(store.active.peek()), 0);
  return (
    <>
      <Title>Pictures</Title>
      <Filters />
      <p role="status" class="count">
        {rows.length === names.length
          ? counted(rows.length, "picture")
          : `${rows.length.toLocaleString("en")} of ${counted(names.length, "picture")}`}
        {known.length > 0 && !route.value.params.outcome && `, ${shareOf(right, known.length)} right`}
      </p>
      {rows.length ? (
        <Grid
          key={JSON.stringify(route.value.params)}
          count={rows.length}
          height={TILE}
          label="Pictures"
          start={start}
          focusStart={store.before() === "picture"}
          onActive={(index) => void (store.active.value = rows[index]!)}
        >
          {(index, tabIndex) => <Tile picture={rows[index]!} tabIndex={tabIndex} />}
        </Grid>
      ) : (
        <p>No picture passes all filters.</p>
      )}
    </>
  );
}

function Tile({ picture, tabIndex }: { picture: number; tabIndex: 0 | -1 }) {
  const store = useStore();
  const to = useLinks();
  const { classes, labels, names } = store;
  const { model, decisions } = store.shown.value;
  const label = labels[picture]!;
  const decided = decisions.predicted[picture]!;
  const strange = model.trust?.familiarity && model.trust.familiarity[picture]! <= model.trust.unfamiliar;
  return (
    <Link to={to("picture", picture)} class="tile" tabIndex={tabIndex} title={names[picture]!}>
      <Thumbnail picture={picture} />
      <b>
        <span>
          <Unseen>says </Unseen>
          {classes[decided]}
        </span>{" "}
        <span>{percent(decisions.probability[picture]!)}</span>
      </b>
      <span class={label === decided ? "right" : "wrong"}>{truth(classes, decided, label)}</span>
      {strange && (
        <span class="strange" title="unlike all train images">
          ?<Unseen>unfamiliar</Unseen>
        </span>
      )}
    </Link>
  );
}

function Filters() {
  const { classes, go, labels, models, route, shown } = useStore();
  const { model } = shown.value;
  const params = route.value.params;
  const set = (name: string) => (value: string) => go(link("pictures", null, { ...params, [name]: value }), true);
  const named = useMemo(() => [ALL, ...classes.map((name, k): [string, string] => [String(k), name])], []);
  const known = Array.from(labels).some((label) => label >= 0);
  const sorts = SORTS.filter(([name]) => name !== "strange" || model.trust?.familiarity);
  const filters: [string, string][] = [
    ["", "there, says the model"],
    ["absent", "not there, says the model"],
  ];
  if (model.truth) {
    filters.push(["annotated", "there, say the annotations"], ["denied", "not there, say the annotations"]);
    filters.push(["mistaken", "mistaken by the model"]);
  }
  return (
    <form class="filters" role="search" aria-label="Filter pictures" onSubmit={(event) => event.preventDefault()}>
      <label class="field">
        <span>Search</span>
        <input
          type="search"
          value={params.search ?? ""}
          placeholder="name or class"
          onInput={(event) => set("search")(event.currentTarget.value)}
        />
      </label>
      {known && <Choice label="True class" value={params.true ?? ""} options={named} onChange={set("true")} />}
      <Choice label="Predicted class" value={params.predicted ?? ""} options={named} onChange={set("predicted")} />
      {known && <Choice label="Outcome" value={params.outcome ?? ""} options={OUTCOMES} onChange={set("outcome")} />}
      <label class="field">
        <span>Concept</span>
        <input
          list="explorer-concepts"
          value={params.concept ?? ""}
          placeholder="any"
          onInput={(event) => set("concept")(event.currentTarget.value)}
        />
      </label>
      <datalist id="explorer-concepts">
        {model.phrases.map((phrase) => (
          <option key={phrase} value={phrase} />
        ))}
      </datalist>
      {params.concept && <Choice label="is" value={params.says ?? ""} options={filters} onChange={set("says")} />}
      {model.trust?.familiarity && (
        <Choice
          label="Familiarity"
          value={params.familiar ?? ""}
          options={[ALL, ["yes", "like train images"], ["no", "unlike all of them"]]}
          onChange={set("familiar")}
        />
      )}
      {models.length > 1 && (
        <Choice
          label="Two models"
          value={params.between ?? ""}
          options={[
            ALL,
            ["differ", "they differ"],
            ["first", `only ${models[0]!.model.name} is right`],
            ["second", `only ${models[1]!.model.name} is right`],
            ["both", "both are right"],
            ["neither", "neither is right"],
          ]}
          onChange={set("between")}
        />
      )}
      {model.maps.size > 0 && (
        <Choice
          label="Concept maps"
          value={params.maps ?? ""}
          options={[ALL, ["yes", `the ${model.maps.size} that have them`]]}
          onChange={set("maps")}
        />
      )}
      <Choice label="Sort by" value={params.sort ?? ""} options={sorts} onChange={set("sort")} />
      <button type="button" onClick={() => go(link("pictures", null, { model: params.model }), true)}>
        Clear
      </button>
    </form>
  );
}

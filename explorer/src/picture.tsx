// One picture: why its class, why no other one, and what if its concepts were otherwise.

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Classes } from "./classes_of_picture";
import { corrected } from "./corrections";
import { activationsOf, descending, logitsOf, probabilitiesOf, reasonsOf } from "./decision";
import { makeHistory } from "./history";
import { MappedPicture } from "./mapped_picture";
import { Choice, Link, Reasons, Title, Unseen, useLinks } from "./parts";
import { link, read, written } from "./route";
import { Sliders } from "./sliders";
import { smallestChange, type Change } from "./smallest_change";
import { useStore } from "./store";
import { caution, percent, REST, REST_MEANING, said, signed } from "./wording";

export function PictureView() {
  const { route, names, which } = useStore();
  const picture = route.value.id;
  if (!names[picture]) return <Title>There is no picture {picture}</Title>;
  return <OnePicture key={`${picture} ${which.value}`} picture={picture} />;
}

function OnePicture({ picture }: { picture: number }) {
  const store = useStore();
  const { classes, go, labels, names, route } = store;
  const to = useLinks();
  const { model, decisions } = store.shown.peek();
  const params = route.peek().params;
  const history = useMemo(() => makeHistory(read(params.set, model.phrases.length)), []);
  const carry = useSignal(params.carry === "1");
  const chosen = useSignal<number | null>(null);
  const named = useMemo(() => classes.map((name, k): [string, string] => [String(k), name]), []);
  const own = useMemo(() => activationsOf(model, picture), []);
  const activations = useComputed(() => corrected(model, own, history.now.value, carry.value));
  const logits = useComputed(() => logitsOf(model, activations.value));
  const probabilities = useComputed(() => probabilitiesOf(logits.value, model.temperature));
  const ranked = useComputed(() => descending(logits.value));
  const change = useComputed(() => smallestChange(model, activations.value, logits.value, ranked.value[0]!));

  useEffect(() => void (store.active.value = picture), []);
  // Links and whoever embeds the explorer follow once a slider rests.
  const remember = () => {
    const corrections = history.now.peek();
    const kept = { set: written(corrections), carry: carry.peek() && corrections.size ? 1 : undefined };
    go(to("picture", picture, kept), true);
    store.options.onCorrections?.({
      picture: names[picture]!,
      model: model.name,
      corrections: Object.fromEntries([...corrections].map(([d, value]) => [model.phrases[d]!, value])),
      carry: carry.peek(),
    });
  };
  // A link to the same picture with other corrections.
  useSignalEffect(() => {
    const { view, id, params } = route.value;
    if (view !== "picture" || id !== picture || (params.set ?? "") === written(history.now.peek())) return;
    history.set(read(params.set, model.phrases.length));
  });
  const step = (move: () => void) => () => {
    move();
    remember();
  };
  const undo = step(history.undo);
  const redo = step(history.redo);
  const setAll = (corrections: Map<number, number>) => step(() => history.set(corrections))();

  const first = ranked.value[0]!;
  const before = decisions.predicted[picture]!;
  const label = labels[picture]!;
  const other = chosen.value !== null && chosen.value !== first ? chosen.value : (ranked.value[1] ?? null);
  const changed = history.now.value.size > 0;
  const warning = caution(model.trust, picture, probabilities.value[first]!);
  useShortcuts(picture, undo, redo);
  return (
    <>
      <Moves picture={picture} />
      <Title>{names[picture]}</Title>
      <div class="picture">
        <div class="verdict" role="status">
          <p>
            {changed ? "With your corrections: " : "The model says: "}
            <Link to={to("class", first)} class="said">
              {classes[first]}
            </Link>
            <span class="nowrap">
              {" "}
              {percent(probabilities.value[first]!)}
              {label >= 0 && <Verdict right={label === first} />}
            </span>
            {changed && first !== before && <span class="faint"> (without them {classes[before]})</span>}
          </p>
        </div>
        <div class="look">
          <MappedPicture picture={picture} />
          {label >= 0 && (
            <p>
              True class: <Link to={to("class", label)}>{classes[label]}</Link>
            </p>
          )}
          {warning && <p class="warning">{warning}</p>}
          {model.trust?.familiarity && <Familiar share={model.trust.familiarity[picture]!} />}
          <SmallestChange
            change={change.value}
            changed={changed}
            known={model.calibration !== null}
            onApply={(found) => {
              const next = new Map(history.now.peek());
              for (const { concept, value } of found.corrections) next.set(concept, value);
              setAll(next);
            }}
          />
        </div>
        <section class="why" aria-label="Why">
          <Classes probabilities={probabilities.value} label={label} />
          <Reasons
            caption={`Why ${classes[first]}`}
            reasons={reasonsOf(model, activations.value, first)}
            total={logits.value[first]!}
            rest={REST}
            picture={picture}
            which={store.which.value}
          />
          <p class="faint">{REST_MEANING}</p>
          {other !== null && (
            <>
              <Choice
                label={`Why ${classes[first]} and not`}
                value={String(other)}
                options={named}
                onChange={(value) => void (chosen.value = Number(value))}
              />
              <Reasons
                caption={`What speaks for ${classes[first]} (+) and for ${classes[other]} (−)`}
                reasons={reasonsOf(model, activations.value, first, other)}
                total={logits.value[first]! - logits.value[other]!}
                rest="all others"
                picture={picture}
                which={store.which.value}
              />
            </>
          )}
          <OtherModel picture={picture} />
        </section>
        <section class="correct" aria-label="Corrections">
          <h2>What if?</h2>
          <div class="buttons">
            <button type="button" onClick={undo} disabled={!history.canUndo.value}>
              ↶ Undo
            </button>
            <button type="button" onClick={redo} disabled={!history.canRedo.value}>
              ↷ Redo
            </button>
            <button type="button" onClick={() => setAll(new Map())} disabled={!changed}>
              Reset
            </button>
          </div>
          {model.calibration?.frequencies && (
            <label class="check">
              <input
                type="checkbox"
                checked={carry.value}
                onChange={(event) => {
                  carry.value = event.currentTarget.checked;
                  remember();
                }}
              />
              <span>
                Corrections carry
                <small>what they say of the class moves the other concepts along</small>
              </span>
            </label>
          )}
          <Sliders
            model={model}
            picture={picture}
            own={own}
            activations={activations.value}
            corrections={history.now.value}
            order={[before, decisions.runnerUp[picture]!]}
            onChange={(corrections, moving) => {
              history.set(corrections, moving);
              if (!moving) remember();
            }}
          />
        </section>
      </div>
    </>
  );
}

const Verdict = ({ right }: { right: boolean }) =>
  right ? <span class="right">, ✓ right</span> : <span class="wrong">, ✗ wrong</span>;

/** Back to the gallery, and one picture on or back in its order. */
function Moves({ picture }: { picture: number }) {
  const { order, names } = useStore();
  const to = useLinks();
  const rows = order.value.length ? order.value : names.map((_, n) => n);
  const at = rows.indexOf(picture);
  const [back, on] = [rows[at - 1], at < 0 ? undefined : rows[at + 1]];
  return (
    <nav class="moves" aria-label="Pictures">
      {back === undefined ? <span /> : <Link to={to("picture", back)}>← Previous</Link>}
      {at >= 0 && (
        <span class="faint">
          {(at + 1).toLocaleString("en")} of {rows.length.toLocaleString("en")}
        </span>
      )}
      {on === undefined ? <span /> : <Link to={to("picture", on)}>Next →</Link>}
    </nav>
  );
}

/** Ctrl+Z and Ctrl+Shift+Z (or Ctrl+Y) undo and redo; Alt with an arrow is left to the browser. */
function useShortcuts(picture: number, undo: () => void, redo: () => void) {
  const { keys } = useStore();
  useEffect(() => {
    const press = (event: Event) => {
      if (!(event instanceof KeyboardEvent) || !(event.ctrlKey || event.metaKey)) return;
      if ((event.target as HTMLElement).matches?.("[type=search]")) return;
      const key = event.key.toLowerCase();
      const back = key === "z" && !event.shiftKey;
      if (!back && key !== "y" && key !== "z") return;
      event.preventDefault();
      (back ? undo : redo)();
    };
    keys.addEventListener("keydown", press);
    return () => keys.removeEventListener("keydown", press);
  }, [picture]);
}

function Familiar({ share }: { share: number }) {
  return (
    <p class="faint">
      {share > 0.99 ? "Nearly all" : percent(share)} of validation images are at least as unlike train images.
    </p>
  );
}

function SmallestChange(props: {
  change: Change | null;
  changed: boolean;
  known: boolean;
  onApply: (change: Change) => void;
}) {
  const { classes, shown } = useStore();
  const { phrases } = shown.value.model;
  if (!props.known) return null;
  if (!props.change) return <p class="smallest">No correction of concepts makes another class overtake.</p>;
  const { label, corrections } = props.change;
  return (
    <div class="smallest">
      <p>
        Smallest change that flips it{props.changed && " from here"}: <b>{classes[label]}</b>, if
      </p>
      <ul>
        {corrections.map(({ concept, present, gain }) => (
          <li key={concept}>
            {said(phrases[concept]!, present)} <small>
              (<data value={gain}>{signed(gain)}</data>)
            </small>
          </li>
        ))}
      </ul>
      <button type="button" onClick={() => props.onApply(props.change!)}>
        Make this change
      </button>
    </div>
  );
}

/** What the other model says of the same picture, and why. */
function OtherModel({ picture }: { picture: number }) {
  const store = useStore();
  if (store.models.length < 2) return null;
  const index = 1 - store.which.value;
  const { model, decisions } = store.models[index]!;
  const decided = decisions.predicted[picture]!;
  const label = store.labels[picture]!;
  const activations = activationsOf(model, picture);
  return (
    <section class="other">
      <h2>
        {model.name} says: {store.classes[decided]}{" "}
        <span class="nowrap">
          {percent(decisions.probability[picture]!)}
          {label >= 0 && <Verdict right={label === decided} />}
        </span>
      </h2>
      <Reasons
        caption={`Why ${store.classes[decided]}`}
        reasons={reasonsOf(model, activations, decided)}
        total={logitsOf(model, activations)[decided]!}
        rest={REST}
        picture={picture}
        which={index}
      />
      <p>
        <Link to={link("picture", picture, { model: index || undefined })}>
          Look at it by this model<Unseen>: {model.name}</Unseen>
        </Link>
      </p>
    </section>
  );
}

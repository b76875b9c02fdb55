// A picture, and over it where a concept is.

import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Thumbnail } from "./parts";
import { useStore } from "./store";

export function MappedPicture({ picture }: { picture: number }) {
  const { names, shown } = useStore();
  const { maps, phrases } = shown.value.model;
  const found = maps.get(picture);
  const chosen = useSignal(-1);
  return (
    <>
      <div class={chosen.value < 0 ? "mapped" : "mapped heated"}>
        <Thumbnail picture={picture} alt={names[picture]!} big />
        {found && chosen.value >= 0 && (
          <Heat values={found.values} cells={found.cells} at={chosen.value} label={phrases[found.concepts[chosen.value]!]!} />
        )}
      </div>
      {found ? (
        <label class="field">
          <span>Where is the concept?</span>
          <select value={chosen.value} onChange={(event) => void (chosen.value = Number(event.currentTarget.value))}>
            <option value={-1}>no map</option>
            {found.concepts.map((concept, i) => (
              <option key={concept} value={i}>
                {phrases[concept]}
              </option>
            ))}
          </select>
        </label>
      ) : (
        <p class="faint">
          {maps.size
            ? `No concept maps of this picture; ${maps.size} pictures have them.`
            : "No concept maps: the page was made without them."}
        </p>
      )}
    </>
  );
}

function Heat(props: { values: ArrayLike<number>; cells: number; at: number; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { values, cells, at } = props;
  useLayoutEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    const image = context.createImageData(cells, cells);
    for (let i = 0; i < cells * cells; i++) {
      image.data.set([213, 94, 0, 0.85 * values[at * cells * cells + i]!], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }, [values, at]);
  return <canvas ref={canvas} width={cells} height={cells} role="img" aria-label={`Where it finds: ${props.label}`} />;
}

// The explorer in a cell of a notebook, as anywidget calls it. It lives in a shadow root, so that neither restyles the
// other, and its keys are its own.

import { signal } from "@preact/signals";
import { mount } from "./mount";
import type { Payload } from "./payload";
import type { Corrected } from "./store";

interface Traits {
  payload: Payload;
  stylesheet: string;
  corrections: Record<string, Record<string, number>>;
  carry: Record<string, boolean>;
}

interface WidgetModel {
  get<Name extends keyof Traits>(name: Name): Traits[Name];
  set<Name extends keyof Traits>(name: Name, value: Traits[Name]): void;
  save_changes(): void;
}

export const widget = {
  render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
    const host = document.createElement("div");
    // The host scrolls and not what is in its root, from which no scroll event comes out.
    host.style.cssText = "max-height: min(50rem, 85vh); overflow: auto";
    // Keys of a notebook delete cells; Lumino, of JupyterLab, hears them first, and goes by this attribute.
    host.dataset.lmSuppressShortcuts = "true";
    host.addEventListener("keydown", (event) => event.stopPropagation());
    const style = document.createElement("style");
    style.textContent = model.get("stylesheet");
    const place = document.createElement("div");
    host.attachShadow({ mode: "open" }).append(style, place);
    el.append(host);
    const { theme, close } = themeAround(host);
    const onCorrections = ({ picture, corrections, carry }: Corrected) => {
      model.set("corrections", changed(model.get("corrections"), picture, corrections));
      model.set("carry", { ...model.get("carry"), [picture]: carry });
      model.save_changes();
    };
    const unmount = mount(place, model.get("payload"), { links: false, theme, onCorrections });
    return () => {
      unmount();
      close();
      host.remove();
    };
  },
};

/** Corrections with those of one picture exchanged; a picture without any is left out. */
function changed(all: Traits["corrections"], picture: string, corrections: Record<string, number>) {
  const { [picture]: _, ...others } = all;
  return Object.keys(corrections).length ? { ...others, [picture]: corrections } : others;
}

/** Whether the notebook around is light or dark, by the colour of its text, while it changes. */
function themeAround(host: HTMLElement) {
  const theme = signal<"light" | "dark">("light");
  const look = () => {
    if (!host.isConnected) return;
    const [red = 0, green = 0, blue = 0] = (getComputedStyle(host).color.match(/[\d.]+/g) ?? []).map(Number);
    theme.value = red + green + blue > 384 ? "dark" : "light";
  };
  // Its size changes when it is first shown; a notebook's theme is an attribute of the page.
  const shown = new ResizeObserver(look);
  shown.observe(host);
  const themed = new MutationObserver(look);
  for (const page of [document.documentElement, document.body]) themed.observe(page, { attributes: true });
  return {
    theme,
    close: () => {
      shown.disconnect();
      themed.disconnect();
    },
  };
}

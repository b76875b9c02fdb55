// The entry: `mount` for whoever embeds the explorer; a page with a payload in it starts by itself.

import { render } from "preact";
import { App } from "./app";
import type { Payload } from "./payload";
import { makeStore, StoreContext, type Options } from "./store";

/** Shows the explorer in an element; returns what takes it away again. */
export function mount(element: HTMLElement, payload: Payload, options: Options = {}): () => void {
  const store = makeStore(payload, options);
  render(
    <StoreContext.Provider value={store}>
      <App />
    </StoreContext.Provider>,
    element,
  );
  return () => {
    render(null, element);
    store.close();
  };
}

const payload = document.getElementById("explorer-payload");
const element = document.getElementById("explorer");
if (payload && element) mount(element, JSON.parse(payload.textContent!), { links: true });

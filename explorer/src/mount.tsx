// `mount`: the explorer in an element of any page.

import { render } from "preact";
import { App } from "./app";
import type { Payload } from "./payload";
import { makeStore, StoreContext, type Options } from "./store";

/** Shows the explorer in an element; returns what takes it away again. */
export function mount(element: HTMLElement, payload: Payload, options: Options = {}): () => void {
  const store = makeStore(payload, options, element);
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

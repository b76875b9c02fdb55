// The page of a server: pictures that are chosen or dropped go to it, and the explorer opens on its answer.

import { mount } from "./mount";
import type { Payload } from "./payload";

interface Answer {
  explorer?: Payload;
  unread?: { name: string; error: string }[];
  error?: string;
}

/** Has a form take pictures, and shows what the server says of them in an element. */
export function takePictures(form: HTMLElement, element: HTMLElement): void {
  const input = form.querySelector("input")!;
  const [alarm, status] = [form.querySelector("[role=alert]")!, form.querySelector("[role=status]")!];
  let unmount = () => {};

  const send = async (files: readonly File[]) => {
    if (!files.length || input.disabled) return;
    input.disabled = true;
    status.textContent = `Looking at ${files.length} ${files.length === 1 ? "picture" : "pictures"} …`;
    const { explorer, unread = [], error } = await ask(files);
    status.textContent = "";
    input.disabled = false;
    input.value = "";
    alarm.textContent = error ?? unread.map((each) => `${each.name}: ${each.error}`).join("; ");
    if (!explorer) return;
    unmount();
    // Links of the pictures before would name other ones.
    history.replaceState(null, "", location.pathname + location.search);
    unmount = mount(element, explorer, { links: true });
  };

  input.addEventListener("change", () => void send([...input.files!]));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    void send([...(event.dataTransfer?.files ?? [])]);
  });
}

async function ask(files: readonly File[]): Promise<Answer> {
  const body = new FormData();
  for (const file of files) body.append("image", file);
  try {
    return await (await fetch("v1/explore", { method: "POST", body })).json();
  } catch (error) {
    return { error: `the server gives no answer (${error})` };
  }
}

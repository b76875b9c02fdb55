// The module: `mount` for whoever embeds the explorer, anywidget's `render`, and pages of ours, which start by themselves.

import { mount } from "./mount";
import { takePictures } from "./upload";

export { mount };
export { widget as default } from "./widget";

const payload = document.getElementById("explorer-payload");
const form = document.querySelector<HTMLElement>("#explorer-upload");
const element = document.getElementById("explorer");
if (payload && element) mount(element, JSON.parse(payload.textContent!), { links: true });
if (form && element) takePictures(form, element);

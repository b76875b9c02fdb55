// Bundles the explorer into jaxcbm/explore/assets, with the licences of what is in the bundle:
//     npm ci && npm run build            (another folder: npm run build -- FOLDER)
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "../jaxcbm/explore/assets");
const bundled = ["preact", "@preact/signals", "@preact/signals-core"];
const licences = bundled.map((name) => {
  const folder = join(here, "node_modules", name);
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return `${name} ${version}\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}`;
});
const options = { bundle: true, minify: true, charset: "utf8", logLevel: "warning" };
await build({
  ...options,
  entryPoints: [join(here, "src/entry.ts")],
  outfile: join(output, "explorer.js"),
  format: "esm",
  target: "es2022",
  banner: { js: `/*!\nThis file holds, under their licences:\n\n${licences.join("\n\n")}\n*/` },
});
await build({
  ...options,
  entryPoints: [join(here, "src/style.css")],
  outfile: join(output, "explorer.css"),
});

// Copies the schemas of the Kubernetes kinds that the pages read from a running platform into schemas/kubernetes.json.
// A test of the API server holds the copy against what it serves. Usage: npm run schemas [-- http://127.0.0.1:7878]
import { writeFileSync } from "node:fs";

const KINDS = ["Event", "Namespace", "Node", "Pod"].flatMap((kind) => [kind, `${kind}List`]);
const base = process.argv[2] ?? "http://127.0.0.1:7878";
const response = await fetch(new URL("/api/k8s/openapi/v3/api/v1", base));
if (!response.ok) throw new Error(`${base} answered ${response.status}: is the platform running (kfctl up)?`);
const document = await response.json();
const all = document.components.schemas;

// The words for people would make the copy four times as long.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (!value || typeof value !== "object") return value;
  const said = ([key, inner]) => key !== "description" || typeof inner !== "string";
  return Object.fromEntries(Object.entries(value).filter(said).map(([key, inner]) => [key, plain(inner)]));
}

const kept = {};
function keep(name) {
  if (kept[name]) return;
  kept[name] = plain(all[name] ?? {});
  for (const [, reference] of JSON.stringify(kept[name]).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) keep(reference);
}
for (const kind of KINDS) keep(`io.k8s.api.core.v1.${kind}`);
const sorted = Object.fromEntries(Object.entries(kept).sort(([a], [b]) => a.localeCompare(b, "en")));
const copy = { openapi: document.openapi, info: document.info, paths: {}, components: { schemas: sorted } };
writeFileSync(new URL("../schemas/kubernetes.json", import.meta.url), `${JSON.stringify(copy, null, 1)}\n`);
console.log(`${Object.keys(sorted).length} schemas`);

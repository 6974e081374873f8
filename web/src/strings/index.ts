// Everything that the console says. Pages take their words from `t`; a second language is a second catalogue of the same type
// beside `en.tsx`, named in CATALOGUES. A rule of the linter finds words that stand elsewhere.
import { en } from "./en";

export type Catalogue = typeof en;

const CATALOGUES: Record<string, Catalogue> = { en };

/** The first catalogue that a reader of these languages can read. */
export function choose(wanted: readonly string[], catalogues: Record<string, Catalogue> = CATALOGUES): Catalogue {
  for (const language of wanted) {
    const found = catalogues[language] ?? catalogues[language.split("-")[0] ?? ""];
    if (found) return found;
  }
  return en;
}

export const t: Catalogue = choose(typeof navigator === "undefined" ? [] : navigator.languages);

// The whole way in a real browser: start the platform, run the guide's pipeline, watch its graph turn green, read a log; then
// everything else the pages can do, by keyboard where a keyboard can; and axe looks at every page in both themes and two widths.
import { openPlatform } from "./browser/platform.mjs";
import * as empty from "./browser/empty.mjs";
import * as guide from "./browser/guide.mjs";
import * as lists from "./browser/lists.mjs";
import * as looks from "./browser/looks.mjs";
import * as pipelines from "./browser/pipelines.mjs";
import * as runs from "./browser/runs.mjs";
import * as shell from "./browser/shell.mjs";
import * as signIn from "./browser/sign-in.mjs";

const platform = await openPlatform();
try {
  // In this order: each part may use what those before it left behind.
  for (const part of [empty, guide, pipelines, runs, lists, shell, signIn, looks]) await part.checks(platform);
  await platform.check("no page threw an error", () => {
    if (platform.errors.length > 0) throw new Error(platform.errors.join("\n"));
  });
} catch (error) {
  platform.fail(error.stack ?? String(error));
}
process.exit(await platform.close());

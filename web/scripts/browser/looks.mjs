// Every page in both themes and two widths: axe finds nothing, nothing is wider than the window.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { SOON } from "./platform.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function audit(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
  if (wide) found.push("the page is wider than the window");
  if (found.length > 0) throw new Error(found.join("; "));
}

export async function checks(platform) {
  const { check, shot, url, foreign } = platform;
  const run = platform.guideRun;
  const log = (page) => page.getByRole("log").getByText(/loss/i).first().waitFor(SOON);
  const keys = (combination) => async (page) => {
    // The shell listens once it is there.
    await page.locator("nav.nav").waitFor({ state: "attached", ...SOON });
    await page.keyboard.press(combination);
    await page.locator("dialog[open]").waitFor(SOON);
  };
  const pages = {
    home: ["#/", (page) => page.getByRole("img", { name: /^CPU/ }).waitFor(SOON)],
    runs: ["#/runs", (page) => page.locator("tbody tr[data-index]").first().waitFor(SOON)],
    "runs-columns": ["#/runs?columns=name,state,param.rate,metric.accuracy", (page) => page.getByRole("button", { name: "Columns" }).click().then(() => page.getByRole("dialog", { name: "Columns" }).waitFor(SOON))],
    run: [`#/runs/details/${run}?step=train`, log],
    "run-failed": [`#/runs/details/${platform.failedRun}`, (page) => page.getByRole("region", { name: "Why it failed" }).waitFor(SOON)],
    "run-inputs": [`#/runs/details/${platform.failedRun}?step=fit&tab=inputs`],
    "run-uncached": [`#/runs/details/${platform.failedRun}?step=fit&tab=details`, (page) => page.getByRole("heading", { name: "Why it was not taken from the cache" }).waitFor(SOON)],
    "run-details": [`#/runs/details/${run}?step=train&tab=details`],
    pipelines: ["#/pipelines", (page) => page.getByRole("link", { name: "greeting" }).first().waitFor(SOON)],
    pipeline: [`#/pipelines/details/${platform.pipeline}`, (page) => page.getByLabel("Step greet", { exact: true }).waitFor(SOON)],
    "new-run": [`#/runs/new?pipeline=${platform.pipeline}`, (page) => page.getByRole("textbox", { name: /times/ }).waitFor(SOON)],
    "raise-memory": [`#/runs/new?from=${platform.failedRun}&memory=root.fit`, (page) => page.getByRole("textbox", { name: /Memory of fit/ }).waitFor(SOON)],
    "clone-run": [`#/runs/new?from=${platform.failedRun}`, (page) => page.getByRole("textbox", { name: /rate/ }).waitFor(SOON)],
    experiments: ["#/experiments"],
    pods: ["#/pods?ns=kubeflow", (page) => page.getByRole("link", { name: /^ml-pipeline-/ }).waitFor(SOON)],
    absent: ["#/katib"],
    palette: ["#/", keys("Control+k")],
    help: ["#/", keys("?")],
  };
  for (const scheme of ["light", "dark"]) {
    for (const [width, height] of [[1440, 900], [390, 844]]) {
      const page = await platform.window({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
      for (const [name, [hash, ready]] of Object.entries(pages)) {
        await check(`axe finds nothing: ${name}, ${scheme}, ${width} wide`, async () => {
          await page.goto("about:blank");
          await page.goto(url + hash);
          await page.getByRole("heading", { level: 1 }).waitFor(SOON);
          await ready?.(page);
          await page.waitForLoadState("load");
          await shot(page, `${name}-${scheme}-${width}`);
          await audit(page);
        });
      }
      await check(`axe finds nothing: sign-in, ${scheme}, ${width} wide`, async () => {
        await page.goto(foreign);
        await page.getByRole("heading", { level: 1, name: "Sign in" }).waitFor(SOON);
        await shot(page, `sign-in-${scheme}-${width}`);
        await audit(page);
      });
      await page.context().close();
    }
  }
}

// The guide's pipeline, from the command line to green.
import { join } from "node:path";
import { REPOSITORY, running, SOON } from "./platform.mjs";

const STEPS = ["preprocess", "train", "validate"];

export async function checks(platform) {
  const { check, kfctl, shot, url } = platform;
  const folder = join(REPOSITORY, "examples/guide");
  for (const name of STEPS) kfctl("image", "add", `${name}:latest`, join(folder, name), "--requirements", join(folder, name, "requirements.txt"));
  const page = await platform.window();
  // The list is open before there is a run: it must show it by itself.
  await page.goto(`${url}#/runs?ns=kubeflow`);
  await page.getByText("No run yet").waitFor(SOON);
  const run = await running(platform, "run", join(folder, "pipeline.py"), "--mount", `${join(REPOSITORY, "crates/objects")}:/data/raw`, "--output", "json");
  platform.guideRun = run.run_id;

  await check("a new run appears in the list without a reload", async () => {
    await page.getByRole("link", { name: "llm-training-pipeline" }).first().waitFor(SOON);
  });
  await check("the printed link shows the run and its graph turns green", async () => {
    await page.goto(run.url.replace(platform.server, url));
    for (const step of STEPS) await page.getByLabel(`Step ${step}`, { exact: true }).waitFor(SOON);
    await page.getByLabel("Step train", { exact: true }).locator(".chip.running").waitFor({ timeout: 300_000 });
    await shot(page, "run-live-dark-1440");
    for (const step of STEPS) await page.getByLabel(`Step ${step}`, { exact: true }).locator(".chip.succeeded").waitFor({ timeout: 900_000 });
    await page.waitForFunction(() => document.title.startsWith("Succeeded"), undefined, SOON);
  });
  await check("the log of a step opens from the graph", async () => {
    await page.getByLabel("Step train", { exact: true }).click();
    await page.getByRole("heading", { name: "train", exact: true }).waitFor();
    await page.getByRole("log").getByText(/loss/i).first().waitFor(SOON);
  });
  await check("every line of a log has its time", async () => {
    await page.locator(".line .gutter").first().waitFor();
    const gutters = await page.locator(".line .gutter").allTextContents();
    if (!gutters.every((text) => /^\d\d:\d\d:\d\d$/.test(text))) throw new Error(`the gutter says ${gutters.slice(0, 5).join(", ")}`);
  });
  await check("a step is chosen and tabs are changed by keyboard alone", async () => {
    await page.getByLabel("Step validate", { exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "validate", exact: true }).waitFor();
    await page.getByRole("tab", { name: "Log" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForURL(/tab=inputs/);
    await page.keyboard.press("k");
    await page.getByRole("heading", { name: "train", exact: true }).waitFor();
    await page.goBack();
  });
  await page.context().close();
}

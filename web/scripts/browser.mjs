// The whole way in a real browser: start the platform, run the guide's pipeline, watch its graph turn green, read a log,
// and let axe look at every page in both themes and two widths.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const KFCTL = process.env.FERROFLOW_KFCTL;
const SHOTS = process.env.FERROFLOW_SHOTS;
const BROWSER = process.env.FERROFLOW_CHROMIUM ?? "/usr/bin/chromium";
const REPOSITORY = resolve(import.meta.dirname, "../..");
const GUIDE = join(REPOSITORY, "examples/guide");
const [PORT, API_PORT] = [await freePort(), await freePort()];
const PLATFORM = `http://127.0.0.1:${PORT}/`;
// During development the pages may come from Vite instead of the binary.
const URL = process.env.FERROFLOW_PAGES ?? PLATFORM;
// A pipeline with one parameter; it is looked at, never run.
const GREETING = {
  pipelineInfo: { name: "greeting" },
  schemaVersion: "2.1.0",
  sdkVersion: "kfp-2.17.0",
  root: {
    inputDefinitions: { parameters: { times: { parameterType: "NUMBER_INTEGER", description: "How often to greet" } } },
    dag: { tasks: { greet: { taskInfo: { name: "greet" }, componentRef: { name: "comp-greet" } } } },
  },
  components: { "comp-greet": { executorLabel: "exec-greet" } },
  deploymentSpec: { executors: { "exec-greet": { container: { image: "train:latest", command: ["echo", "hello"] } } } },
};
const STEPS = ["preprocess", "train", "validate"];

if (!KFCTL || !existsSync(BROWSER)) {
  console.error(KFCTL ? `no browser at ${BROWSER}: apt-get install chromium` : "set FERROFLOW_KFCTL to the kfctl to test");
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "ferroflow-browser-"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let passed = 0;
let failed = 0;

/** A port that nobody listens on, as text. */
function freePort() {
  return new Promise((resolved, refused) => {
    const server = createServer();
    server.once("error", refused);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolved(String(port)));
    });
  });
}

function kfctl(...args) {
  return execFileSync(KFCTL, ["--data-dir", folder, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 600_000 });
}

async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message ?? error).split("\n").join("\n      ")}`);
  }
}

async function shot(page, name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

async function audit(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
  if (wide) found.push("the page is wider than the window");
  if (found.length > 0) throw new Error(`${name}: ${found.join("; ")}`);
}

let browser;
try {
  kfctl("up", "--detach", "--port", PORT, "--api-port", API_PORT, "--gpu-fallback=cpu", "--memory-fallback=clamp");
  for (const name of STEPS) {
    const source = join(GUIDE, name);
    kfctl("image", "add", `${name}:latest`, source, "--requirements", join(source, "requirements.txt"));
  }
  browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark" });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));

  await check("an empty home teaches the first commands", async () => {
    await page.goto(URL);
    await page.getByRole("heading", { name: "Home", exact: true }).waitFor();
    await page.getByText("kfctl run pipeline.py --follow").waitFor();
    await shot(page, "home-empty-dark-1440");
  });

  // Not awaited at once: the list of runs must show the run by itself.
  await page.goto(`${URL}#/runs`);
  await page.getByText("No run yet").waitFor();
  const printed = await new Promise((done, refuse) => {
    const child = spawn(KFCTL, ["--data-dir", folder, "run", join(GUIDE, "pipeline.py"), "--mount", `${join(REPOSITORY, "crates/objects")}:/data/raw`, "--output", "json"], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    child.on("close", (code) => (code === 0 ? done(text) : refuse(new Error(`kfctl run ended with ${code}`))));
  });
  const run = JSON.parse(printed.trim().split("\n").at(-1));

  await check("a new run appears in the list without a reload", async () => {
    await page.getByRole("link", { name: "llm-training-pipeline" }).first().waitFor({ timeout: 20_000 });
  });

  await check("the printed link shows the run and its graph turns green", async () => {
    await page.goto(run.url.replace(PLATFORM, URL));
    for (const step of STEPS) await page.getByLabel(`Step ${step}`, { exact: true }).waitFor({ timeout: 20_000 });
    await shot(page, "run-live-dark-1440");
    for (const step of STEPS) await page.getByLabel(`Step ${step}`, { exact: true }).locator(".chip.succeeded").waitFor({ timeout: 180_000 });
    await page.waitForFunction(() => document.title.startsWith("Succeeded"), undefined, { timeout: 20_000 });
  });

  await check("the log of a step opens from the graph", async () => {
    await page.getByLabel("Step train", { exact: true }).click();
    await page.getByRole("heading", { name: "train", exact: true }).waitFor();
    await page.getByRole("log").getByText(/loss/i).first().waitFor({ timeout: 20_000 });
  });

  await check("a step is chosen and tabs are changed by keyboard alone", async () => {
    await page.getByLabel("Step validate", { exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "validate", exact: true }).waitFor();
    await page.getByRole("tab", { name: "Log" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForURL(/tab=inputs/);
    await page.goBack();
  });

  await check("a pipeline that is uploaded shows its graph and a form", async () => {
    await page.goto(`${URL}#/pipelines`);
    await page.getByLabel("Pipeline file").setInputFiles({ name: "greeting.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(GREETING)) });
    await page.getByLabel("Step greet", { exact: true }).waitFor({ timeout: 20_000 });
    await page.getByRole("link", { name: "Create run" }).click();
    await page.getByRole("heading", { name: "New run" }).waitFor();
    await page.getByRole("textbox", { name: /times/ }).fill("many");
    await page.getByRole("button", { name: "Start run" }).click();
    await page.getByText("times takes a whole number").waitFor();
  });
  const uploaded = new URLSearchParams(page.url().split("?")[1]).get("pipeline");
  await context.close();

  const pages = { home: "#/", runs: "#/runs", run: `#/runs/details/${run.run_id}?step=train`, pipelines: "#/pipelines", pipeline: `#/pipelines/details/${uploaded}`, "new-run": `#/runs/new?pipeline=${uploaded}`, experiments: "#/experiments" };
  for (const scheme of ["light", "dark"]) {
    for (const [width, height] of [[1440, 900], [390, 844]]) {
      const look = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
      const tab = await look.newPage();
      tab.on("pageerror", (error) => errors.push(error.message));
      for (const [name, hash] of Object.entries(pages)) {
        await check(`axe finds nothing: ${name}, ${scheme}, ${width} wide`, async () => {
          await tab.goto(URL + hash);
          await tab.getByRole("heading", { level: 1 }).waitFor({ timeout: 20_000 });
          if (name === "run") await tab.getByRole("log").getByText(/loss/i).first().waitFor({ timeout: 20_000 });
          await tab.waitForLoadState("load");
          await shot(tab, `${name}-${scheme}-${width}`);
          await audit(tab, name);
        });
      }
      await look.close();
    }
  }
  await check("no page threw an error", async () => {
    if (errors.length > 0) throw new Error(errors.join("\n"));
  });
} catch (error) {
  failed += 1;
  console.log(`FAIL  ${error.stack ?? error}`);
} finally {
  await browser?.close();
  try {
    kfctl("down", "--delete-data", "--yes");
  } catch (error) {
    failed += 1;
    console.log(`FAIL  stopping the platform: ${error.message}`);
  }
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

// A platform of its own for the browser test, and the browser that looks at it.
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const KFCTL = process.env.FERROFLOW_KFCTL;
const SHOTS = process.env.FERROFLOW_SHOTS;
const BROWSER = process.env.FERROFLOW_CHROMIUM ?? "/usr/bin/chromium";
export const REPOSITORY = resolve(import.meta.dirname, "../../..");
/** A name that is not this machine's own: there the owner is nobody. */
export const FOREIGN = "console.test";
/** How long anything may take that the platform does at once. */
export const SOON = { timeout: 60_000 };

/** A port that nobody has; another program could take it before we do, which a test can bear. */
function freePort() {
  return new Promise((done) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export async function openPlatform() {
  if (!KFCTL || !existsSync(BROWSER)) {
    console.error(KFCTL ? `no browser at ${BROWSER}: apt-get install chromium` : "set FERROFLOW_KFCTL to the kfctl to test");
    process.exit(2);
  }
  const folder = mkdtempSync(join(tmpdir(), "ferroflow-browser-"));
  // Vite must be told the port (FERROFLOW_URL) before the platform is there.
  const [port, apiPort] = [Number(process.env.FERROFLOW_PORT) || (await freePort()), await freePort()];
  const server = `http://127.0.0.1:${port}/`;
  const args = (list) => ["--data-dir", folder, ...list];
  let passed = 0;
  let failed = 0;
  const platform = {
    server,
    /** During development the pages may come from Vite instead of the binary. */
    url: process.env.FERROFLOW_PAGES ?? server,
    foreign: `http://${FOREIGN}:${port}/`,
    errors: [],
    kfctl: (...list) => execFileSync(KFCTL, args(list), { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 600_000 }),
    kfctlLater: async (...list) => (await promisify(execFile)(KFCTL, args(list), { encoding: "utf8", timeout: 600_000 })).stdout,
    async api(method, path, body) {
      const response = await fetch(new URL(`/apis/v2beta1${path}`, server), { method, headers: body ? { "content-type": "application/json" } : {}, body: body && JSON.stringify(body) });
      if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
      return response.json();
    },
    /** A window of its own; what its pages throw is kept. */
    async window(options = {}) {
      const context = await platform.browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark", ...options });
      const page = await context.newPage();
      page.on("pageerror", (error) => platform.errors.push(`${page.url()}: ${error.message}`));
      return page;
    },
    async check(name, body) {
      try {
        await body();
        passed += 1;
        console.log(`ok    ${name}`);
      } catch (error) {
        platform.fail(`${name}\n      ${String(error.message ?? error).split("\n").join("\n      ")}`);
      }
    },
    fail(words) {
      failed += 1;
      console.log(`FAIL  ${words}`);
    },
    async shot(page, name) {
      if (!SHOTS) return;
      mkdirSync(SHOTS, { recursive: true });
      await page.screenshot({ path: join(SHOTS, `${name}.png`) });
    },
    async close() {
      await platform.browser?.close();
      try {
        platform.kfctl("down", "--delete-data", "--yes");
      } catch (error) {
        platform.fail(`stopping the platform: ${error.message}`);
      }
      rmSync(folder, { recursive: true, force: true });
      console.log(`${passed} passed, ${failed} failed`);
      return failed > 0 ? 1 : 0;
    },
  };
  try {
    platform.kfctl("up", "--detach", "--port", String(port), "--api-port", String(apiPort), "--gpu-fallback=cpu", "--memory-fallback=clamp");
    platform.browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox", `--host-resolver-rules=MAP ${FOREIGN} 127.0.0.1`] });
  } catch (error) {
    platform.fail(error.stack ?? String(error));
    process.exit(await platform.close());
  }
  return platform;
}

/** Runs kfctl and gives what it printed, without holding up the browser. */
export function running(platform, ...list) {
  return platform.kfctlLater(...list).then((text) => JSON.parse(text.trim().split("\n").at(-1)));
}

/** Fails with what was found instead. */
export function equal(found, expected, what) {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
}

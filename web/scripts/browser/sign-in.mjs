// Signing in and out. Under a name that is not this machine's own, the owner is a stranger like everybody else.
import { request } from "node:http";
import { equal, SOON } from "./platform.mjs";

/** What the server answers to a request with these headers; a browser would not let a page choose them. */
function answerTo(server, headers) {
  return new Promise((done, refuse) => {
    const asked = request(new URL("/apis/v2beta1/experiments", server), { method: "POST", headers }, (answer) => done(answer.resume().statusCode));
    asked.on("error", refuse);
    asked.end(JSON.stringify({ display_name: `made by ${headers.origin}` }));
  });
}

export async function checks(platform) {
  const { check, shot, foreign, kfctl } = platform;
  const page = await platform.window({ colorScheme: "light" });
  const link = () => kfctl("login", "--quiet").trim().replace(platform.server, foreign);
  const signIn = page.getByRole("heading", { level: 1, name: "Sign in" });

  await check("without a session every page leads to sign-in, which says what to run", async () => {
    for (const hash of ["", "#/runs", `#/runs/details/${platform.guideRun}`, "#/pods", "#/runs/new", "#/pipelines"]) {
      await page.goto("about:blank");
      await page.goto(foreign + hash);
      await signIn.waitFor(SOON);
      await page.getByText("kfctl login", { exact: true }).waitFor();
    }
    await shot(page, "sign-in-light-1440");
  });
  await check("without a session no API answers", async () => {
    for (const path of ["api/session", "api/machine", "api/k8s/api/v1/secrets", "apis/v2beta1/runs", "api/events?topic=runs"]) {
      equal(await page.evaluate(async (path) => (await fetch(path)).status, `/${path}`), 401, path);
    }
  });
  const first = link();
  await check("the address that kfctl login prints signs in, and leads to the page that was wanted", async () => {
    await page.goto(first);
    await page.getByRole("heading", { level: 1, name: "Pipelines" }).waitFor(SOON);
    await page.getByRole("link", { name: "greeting" }).first().waitFor(SOON);
    const [cookie] = await page.context().cookies();
    equal([cookie.httpOnly, cookie.sameSite], [true, "Strict"], "the cookie");
  });
  await check("a used, wrong or missing code shows a page that says so", async () => {
    const stranger = await platform.window({ colorScheme: "light" });
    for (const address of [first, `${foreign}login?code=nonsense`, `${foreign}login`]) {
      const answer = await stranger.goto(address);
      equal(answer.status(), 401, "the answer");
      await stranger.getByRole("heading", { level: 1, name: "This address no longer works" }).waitFor(SOON);
      await stranger.getByText("kfctl login", { exact: true }).waitFor();
    }
    await shot(stranger, "sign-in-used-light-1440");
    await stranger.context().close();
    // Who is in already is told the way on.
    await page.goto(first);
    await page.getByRole("link", { name: "go to the console" }).click();
    await page.getByRole("heading", { level: 1, name: "Home" }).waitFor(SOON);
  });
  await check("a page of another origin cannot use the session", async () => {
    const [{ name, value }] = await page.context().cookies();
    const headers = { host: new URL(foreign).host, cookie: `${name}=${value}`, "content-type": "application/json" };
    equal(await answerTo(platform.server, { ...headers, origin: "http://evil.example" }), 403, "the answer to the other page");
    equal(await answerTo(platform.server, { ...headers, origin: foreign.slice(0, -1) }), 200, "the answer to our own page");
  });
  await check("signing out ends the session, and the next page asks to sign in", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { level: 1, name: "You are signed out" }).waitFor(SOON);
    await page.reload();
    await signIn.waitFor(SOON);
  });
  await check("a session that ends while a page is open leads to sign-in", async () => {
    await page.goto(link());
    await page.getByRole("heading", { level: 1, name: "Home" }).waitFor(SOON);
    await page.context().clearCookies();
    await page.goto(`${foreign}#/experiments`);
    await signIn.waitFor(SOON);
  });
  await page.context().close();
}

// What is around every page: search, help, namespaces, pods, and the parts that are not there.
import { equal, SOON } from "./platform.mjs";

export async function checks(platform) {
  const { check, shot, url } = platform;
  const page = await platform.window();
  const search = page.getByRole("combobox", { name: "Search" });
  const open = async () => {
    await page.keyboard.press("Control+k");
    await search.waitFor(SOON);
  };

  await check("Ctrl-K finds a run and Enter opens it", async () => {
    await page.goto(url);
    await page.getByRole("heading", { level: 1, name: "Home" }).waitFor(SOON);
    await open();
    await page.keyboard.type("clone of nightly");
    await page.getByRole("option", { name: /Clone of nightly report/ }).waitFor(SOON);
    await shot(page, "palette-dark-1440");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Clone of nightly report" }).waitFor(SOON);
  });
  await check("Ctrl-K finds a step of the run in view, a pipeline, an action", async () => {
    await open();
    await page.keyboard.type("plot");
    await page.getByRole("option", { name: /plot/ }).first().waitFor(SOON);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "plot", exact: true }).waitFor(SOON);
    await open();
    await page.keyboard.type("greeting");
    await page.getByRole("option", { name: "greeting" }).waitFor(SOON);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "greeting" }).waitFor(SOON);
    await open();
    await page.keyboard.type("light colours");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.documentElement.dataset.theme === "light", undefined, SOON);
    await open();
    await page.keyboard.press("Escape");
    await search.waitFor({ state: "detached" });
  });
  await check("? shows the keys, and g leads to the pages", async () => {
    const help = page.getByRole("dialog", { name: "Keyboard" });
    await page.keyboard.press("?");
    await help.waitFor(SOON);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "Keyboard" }).waitFor({ state: "detached" });
    for (const [key, title] of [["r", "Runs"], ["p", "Pipelines"], ["e", "Experiments"], ["o", "Pods"], ["h", "Home"]]) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.getByRole("heading", { level: 1, name: title }).waitFor(SOON);
    }
  });
  await check("a key that follows Escape at once is not lost: what closes does not close what comes after it", async () => {
    const help = page.getByRole("dialog", { name: "Keyboard" });
    await page.keyboard.press("?");
    await help.waitFor(SOON);
    for (let turn = 0; turn < 5; turn += 1) {
      // Both keys are there before the page has done anything about the first.
      await Promise.all([page.keyboard.press("Escape"), page.keyboard.press("?")]);
      await help.waitFor(SOON);
      await page.evaluate(() => new Promise((done) => setTimeout(done)));
      equal(await help.isVisible(), true, "the help");
    }
    await page.keyboard.press("Escape");
    await help.waitFor({ state: "detached" });
  });
  await check("the namespace selector names what there is, and the pages follow it", async () => {
    const selector = page.getByRole("combobox", { name: "Namespace" });
    await page.goto(`${url}#/pods?ns=kubeflow`);
    await page.getByRole("link", { name: /^ml-pipeline-/ }).waitFor(SOON);
    const names = await selector.locator("option").allTextContents();
    for (const name of ["default", "kube-system", "kubeflow"]) if (!names.includes(name)) throw new Error(`it lists ${names.join(", ")}`);
    await selector.selectOption("default");
    await page.getByRole("heading", { name: "No pods in default" }).waitFor(SOON);
    await page.goto(`${url}#/runs?filter=nightly`);
    await page.getByRole("heading", { name: "No runs in default" }).waitFor(SOON);
    await page.reload();
    await page.getByRole("heading", { name: "No runs in default" }).waitFor(SOON);
    await page.getByRole("button", { name: "Show kubeflow" }).click();
    await page.getByRole("link", { name: "Clone of nightly report" }).waitFor(SOON);
    equal(await selector.inputValue(), "kubeflow", "the selector");
  });
  await check("a pod shows its log and its events", async () => {
    await page.goto(`${url}#/pods?ns=kubeflow`);
    await page.getByRole("link", { name: /^ml-pipeline-/ }).click();
    await page.getByRole("log").getByText(/pipelines/).first().waitFor(SOON);
    await page.getByRole("tab", { name: /Events/ }).click();
    await page.getByRole("tabpanel").getByText("Scheduled", { exact: true }).waitFor(SOON);
  });
  await check("what this version does not have is named, wherever people look for it", async () => {
    await page.goto(url);
    const home = page.getByText(/Katib \(tuning\), Notebooks.*Recurring runs/);
    await home.waitFor(SOON);
    for (const [hash, title] of [["#/katib/experiments", "Katib (tuning): not in this version"], ["#/recurringruns", "Recurring runs: not in this version"], ["#/notebook/a/b", "Notebooks: not in this version"], ["#/nonsense", "There is no such page"]]) {
      await page.goto(url + hash);
      await page.getByRole("heading", { level: 1, name: title }).waitFor(SOON);
    }
    await open();
    await page.keyboard.type("notebooks");
    await page.getByRole("option", { name: /Notebooks.*not in this version/ }).waitFor(SOON);
    await page.keyboard.press("Escape");
    const answer = await page.goto(`${platform.server}katib/`);
    equal(answer.status(), 501, "the answer below /katib");
    await page.getByRole("heading", { name: "Katib (tuning) is not in this version" }).waitFor();
  });
  await page.context().close();
}

// Lists that are long: the server pages, sorts and filters; the page draws what is in view; the keyboard reaches all of it.
import { NOTHING, SCORED } from "./documents.mjs";
import { equal, SOON } from "./platform.mjs";

/** More than two pages of the API. */
const MANY = 240;

export async function checks(platform) {
  const { check, shot, url } = platform;
  const page = await platform.window();
  const name = (number) => `bulk ${String(number).padStart(3, "0")}`;
  const count = () => page.getByRole("status").filter({ hasText: /runs?$/ });

  await check(`${MANY} runs are one list, of which the page draws what is in view`, async () => {
    await page.goto(`${url}#/runs?filter=bulk`);
    for (let first = 0; first < MANY; first += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => platform.api("POST", "/runs", { display_name: name(first + index), pipeline_spec: NOTHING })));
    }
    await page.reload();
    await count().getByText(`${MANY} runs`).waitFor(SOON);
    const drawn = await page.locator("tbody tr[data-index]").count();
    if (drawn > 80) throw new Error(`${drawn} rows are drawn`);
    await page.locator(".table-box").evaluate((box) => box.scrollTo(0, box.scrollHeight));
    // The pages that were missing come as the end comes into view.
    await page.waitForFunction((last) => {
      const box = document.querySelector(".table-box");
      box.scrollTo(0, box.scrollHeight);
      return document.querySelector(`tbody tr[data-index="${last}"]`) !== null;
    }, MANY - 1, { timeout: 120_000, polling: 100 });
    await shot(page, "runs-many-dark-1440");
  });
  await check("a column sorts the whole list, on the server", async () => {
    await page.getByRole("button", { name: "Name" }).click();
    await page.locator('tbody tr[data-index="0"]').getByText(name(MANY - 1)).waitFor(SOON);
    await page.getByRole("button", { name: "Name" }).click();
    await page.locator('tbody tr[data-index="0"]').getByText(name(0)).waitFor(SOON);
    await page.waitForURL(/sort=display_name/);
  });
  await check("what is typed in the filter becomes chips; what it does not know, it says", async () => {
    const box = page.getByRole("textbox", { name: "Filter runs" });
    await page.goto(`${url}#/runs`);
    await page.getByRole("heading", { level: 1, name: "Runs" }).waitFor(SOON);
    await page.keyboard.press("/");
    await page.keyboard.type("state:failed ");
    await page.getByRole("button", { name: "Remove state:failed" }).waitFor();
    await page.keyboard.type("after:1d ");
    await page.keyboard.type("clone of");
    await count().getByText("1 run").waitFor(SOON);
    equal(await page.getByRole("button", { name: "Failed", exact: true }).getAttribute("aria-pressed"), "true", "the quick choice");
    await box.press("Escape");
    await page.goto(`${url}#/runs?filter=state:tired`);
    await page.getByRole("alert").getByText("state: is one of").waitFor(SOON);
  });
  await check("j, k and Enter lead through a list to a page", async () => {
    await page.goto(`${url}#/runs?filter=bulk&sort=display_name asc`);
    await page.locator('tbody tr[data-index="0"]').getByText(name(0)).waitFor(SOON);
    for (const key of ["j", "j", "j", "k"]) await page.keyboard.press(key);
    await page.waitForFunction((text) => document.activeElement?.textContent === text, name(1), SOON);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: name(1) }).waitFor(SOON);
    await page.goBack();
    await page.locator('tbody tr[data-index="0"]').waitFor(SOON);
  });
  await check("x chooses rows, and what is done is done to all of them", async () => {
    await page.goto(`${url}#/runs?filter=bulk&sort=display_name asc`);
    await page.locator('tbody tr[data-index="0"]').getByText(name(0)).waitFor(SOON);
    for (const key of ["j", "x", "j", "x"]) await page.keyboard.press(key);
    await page.getByRole("region", { name: "Chosen runs" }).getByText("2 chosen").waitFor();
    await shot(page, "runs-chosen-dark-1440");
    await page.getByRole("button", { name: "Archive", exact: true }).click();
    await count().getByText(`${MANY - 2} runs`).waitFor(SOON);
    await page.locator('tbody tr[data-index="0"]').getByText(name(2)).waitFor(SOON);
  });
  await check("what was archived comes back by one button", async () => {
    await page.getByRole("region", { name: "Chosen runs" }).getByText("2 runs archived").waitFor(SOON);
    await page.getByRole("button", { name: "Undo" }).click();
    await count().getByText(`${MANY} runs`).waitFor(SOON);
    await page.getByRole("region", { name: "Chosen runs" }).waitFor({ state: "detached", ...SOON });
  });
  await check("parameters and metrics are columns, by which the server filters and sorts", async () => {
    const made = await Promise.all([0.05, 0.2, 0.01].map((lr) => platform.api("POST", "/runs", { display_name: `rate ${lr}`, pipeline_spec: SCORED, runtime_config: { parameters: { lr } } })));
    await page.goto(`${url}#/runs?filter=rate state:succeeded`);
    await count().getByText("3 runs").waitFor({ timeout: 180_000 });
    await page.getByRole("button", { name: "Columns" }).click();
    const columns = page.getByRole("dialog", { name: "Columns" });
    for (const name of ["lr", "accuracy"]) await columns.getByRole("checkbox", { name }).check();
    await columns.getByRole("checkbox", { name: "What happened" }).uncheck();
    await shot(page, "runs-columns-dark-1440");
    await page.keyboard.press("Escape");
    await page.waitForURL(/columns=.*param\.lr/);
    await page.getByRole("columnheader", { name: "lr" }).waitFor();
    await page.getByRole("columnheader", { name: "accuracy" }).getByRole("button").click();
    const rows = async (names) => {
      for (const [index, name] of names.entries()) await page.locator(`tbody tr[data-index="${index}"]`).getByText(name, { exact: true }).waitFor(SOON);
      await count().getByText(names.length === 1 ? "1 run" : `${names.length} runs`, { exact: true }).waitFor(SOON);
    };
    await rows(["rate 0.01", "rate 0.05", "rate 0.2"]);
    await page.locator('tbody tr[data-index="0"]').getByText("0.99").waitFor(SOON);
    await page.keyboard.press("/");
    await page.keyboard.type("param.lr>0.01 ");
    await page.getByRole("button", { name: "Remove param.lr>0.01" }).waitFor(SOON);
    await rows(["rate 0.05", "rate 0.2"]);
    await page.keyboard.type("metric.accuracy<0.9 ");
    await rows(["rate 0.2"]);
    await page.keyboard.press("Escape");
    equal(made.length, 3, "the number of runs");
  });
  await check("a view is saved under a name, and its link shows the same after a reload", async () => {
    await page.getByRole("button", { name: "Views" }).click();
    await page.getByRole("textbox", { name: "Name of the view" }).fill("weak ones");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.goto(`${url}#/runs`);
    await page.reload();
    await page.getByRole("button", { name: "Views" }).click();
    await page.getByRole("link", { name: "weak ones" }).click();
    await page.getByRole("button", { name: "Remove param.lr>0.01" }).waitFor(SOON);
    await page.getByRole("columnheader", { name: "accuracy" }).waitFor(SOON);
    await page.getByRole("link", { name: "rate 0.2" }).waitFor(SOON);
    await page.getByRole("button", { name: "Views" }).click();
    await page.getByRole("button", { name: "Forget the view weak ones" }).click();
    await page.getByRole("link", { name: "weak ones" }).waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
  });
  await check("a comparison with what is no number is refused in words", async () => {
    await page.goto(`${url}#/runs?filter=${encodeURIComponent("param.lr>high")}`);
    await page.getByRole("alert").getByText("more or less than a number only").waitFor(SOON);
  });
  await check("a run that ends elsewhere changes in the list without a reload", async () => {
    await page.goto(`${url}#/runs?filter=state:succeeded newcomer`);
    await page.getByRole("heading", { name: "No run matches" }).waitFor(SOON);
    await platform.api("POST", "/runs", { display_name: "newcomer", pipeline_spec: NOTHING });
    await page.getByRole("link", { name: "newcomer" }).waitFor(SOON);
  });
  await page.context().close();
}

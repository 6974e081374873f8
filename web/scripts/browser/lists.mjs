// Lists that are long: the server pages, sorts and filters; the page draws what is in view; the keyboard reaches all of it.
import { NOTHING } from "./documents.mjs";
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
  await check("a run that ends elsewhere changes in the list without a reload", async () => {
    await page.goto(`${url}#/runs?filter=state:succeeded newcomer`);
    await page.getByRole("heading", { name: "No run matches" }).waitFor(SOON);
    await platform.api("POST", "/runs", { display_name: "newcomer", pipeline_spec: NOTHING });
    await page.getByRole("link", { name: "newcomer" }).waitFor(SOON);
  });
  await page.context().close();
}

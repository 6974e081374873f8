// A platform on which nothing has happened yet teaches what to do.
import { SOON } from "./platform.mjs";

export async function checks(platform) {
  const { check, shot, url } = platform;
  const page = await platform.window();
  await check("an empty home teaches the first commands and shows the machine", async () => {
    await page.goto(url);
    await page.getByRole("heading", { name: "Home", exact: true }).waitFor(SOON);
    await page.getByText("kfctl run pipeline.py --follow").waitFor(SOON);
    for (const name of ["CPU", "Memory", "Disk"]) await page.getByRole("img", { name: new RegExp(`^${name} over the last ten minutes: now \\d`) }).waitFor(SOON);
    // One reading more, and each curve is drawn.
    await page.waitForFunction(() => [...document.querySelectorAll(".curve canvas")].filter((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0)).length === 3, undefined, SOON);
    await shot(page, "home-empty-dark-1440");
  });
  for (const [hash, words] of [["#/runs", "No run yet"], ["#/pipelines", "No pipeline yet"], ["#/runs?filter=state:failed", "No run matches"], ["#/pods?ns=default", "No pods in default"]]) {
    await check(`an empty page says what belongs there: ${hash}`, async () => {
      await page.goto(url + hash);
      await page.getByRole("heading", { name: words }).waitFor(SOON);
      await shot(page, `empty-${words.toLowerCase().replaceAll(" ", "-")}-dark-1440`);
    });
  }
  await page.context().close();
}

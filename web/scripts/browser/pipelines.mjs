// Uploaded pipelines: the upload, versions, the form, and the SDK's links.
import { GREETING, GREETING_TWICE } from "./documents.mjs";
import { SOON } from "./platform.mjs";

const file = (name, document) => ({ name, mimeType: "application/json", buffer: Buffer.from(JSON.stringify(document)) });

export async function checks(platform) {
  const { check, url } = platform;
  const page = await platform.window();
  await check("a pipeline that is uploaded shows its graph", async () => {
    await page.goto(`${url}#/pipelines`);
    await page.getByLabel("Pipeline file").setInputFiles(file("greeting.json", GREETING));
    await page.getByLabel("Step greet", { exact: true }).waitFor(SOON);
    platform.pipeline = page.url().split("/details/")[1].split("/")[0];
  });
  await check("its form refuses what is no number, and says so beside the field", async () => {
    await page.getByRole("link", { name: "Create run" }).click();
    await page.getByRole("heading", { name: "New run" }).waitFor();
    await page.getByRole("textbox", { name: /times/ }).fill("many");
    await page.getByRole("button", { name: "Start run" }).click();
    await page.getByText("times takes a whole number").waitFor();
  });
  await check("a new version is uploaded, shown, and can be told from the old one", async () => {
    await page.goto(`${url}#/pipelines/details/${platform.pipeline}`);
    await page.getByLabel("File of the new version").setInputFiles(file("greeting.json", GREETING_TWICE));
    await page.getByLabel("Step wave", { exact: true }).waitFor(SOON);
    await page.getByLabel("Version", { exact: true }).selectOption("greeting");
    await page.getByLabel("Step wave", { exact: true }).waitFor({ state: "detached", ...SOON });
  });
  await check("a broken file is refused in words", async () => {
    await page.goto(`${url}#/pipelines`);
    await page.getByLabel("Pipeline file").setInputFiles({ name: "broken.yaml", mimeType: "text/yaml", buffer: Buffer.from("root: [") });
    await page.getByRole("alert").getByText("The upload failed").waitFor(SOON);
  });
  await check("the links that the kfp SDK prints land on the right pages", async () => {
    const run = await platform.api("GET", `/runs/${platform.guideRun}`);
    for (const [hash, title] of [
      [`#/runs/details/${platform.guideRun}`, run.display_name],
      [`#/pipelines/details/${platform.pipeline}`, "greeting"],
      [`#/experiments/details/${run.experiment_id}`, "Default"],
    ]) {
      // Both addresses are in use: the console's own, and the one behind Kubeflow's dashboard.
      for (const base of platform.url === platform.server ? ["", "pipeline/"] : [""]) {
        await page.goto(url + base + hash);
        await page.getByRole("heading", { level: 1, name: title }).waitFor(SOON);
      }
    }
  });
  await page.context().close();
}

// One run and what can be done to it: why it failed, which steps took the time, clone, archive, delete, terminate, retry.
import { FAILING, HELD } from "./documents.mjs";
import { equal, SOON } from "./platform.mjs";

const submit = (platform, document, name, parameters = {}) => platform.api("POST", "/runs", { display_name: name, pipeline_spec: document, runtime_config: { parameters } });

export async function checks(platform) {
  const { check, shot, url } = platform;
  const page = await platform.window();
  const failing = await submit(platform, FAILING, "nightly report", { rate: 0.7 });
  platform.failedRun = failing.run_id;

  await check("a failure is told by its cause, with exit code and last lines, and with a way out", async () => {
    await page.goto(`${url}#/runs/details/${failing.run_id}`);
    const card = page.getByRole("region", { name: "Why it failed" });
    await card.getByRole("heading", { name: "Exited with code 1: ValueError: the learning rate 0.7 lets the loss diverge" }).waitFor({ timeout: 240_000 });
    await card.getByText("Exit code 1", { exact: true }).waitFor();
    await card.getByText("Traceback").waitFor();
    await card.getByRole("button", { name: "Retry from here" }).waitFor();
    await page.waitForFunction(() => document.title.startsWith("Failed"), undefined, SOON);
    await page.getByLabel("Step send", { exact: true }).locator(".chip").getByText("Skipped").waitFor();
    await shot(page, "run-failed-dark-1440");
  });
  await check("the critical path is marked in graph and timeline", async () => {
    const names = await page.locator(".react-flow__node:has(.box.critical)").evaluateAll((boxes) => boxes.map((box) => box.getAttribute("aria-label")).sort());
    equal(names, ["Step fit", "Step load"], "the path in the graph");
    const bars = await page.locator(".bar-row.critical .bar-name").allTextContents();
    equal(bars, ["load, on the critical path", "fit, on the critical path"], "the path in the timeline");
  });
  await check("a click in the timeline leads the log to that moment", async () => {
    const bar = page.locator(".bar-row", { hasText: "fit" }).locator(".run");
    const { x, y, width, height } = await bar.boundingBox();
    await page.mouse.click(x + width * 0.5, y + height / 2);
    await page.waitForURL(/at=\d+/);
    await page.getByText(/· at \d\d:\d\d:\d\d/).waitFor();
    const marked = await page.locator(".line.marked .said").textContent();
    if (!/^epoch [2-6]$/.test(marked)) throw new Error(`half-way through, the log is at ${JSON.stringify(marked)}`);
  });
  await check("outputs, inputs and events of a step are in its panel", async () => {
    await page.goto(`${url}#/runs/details/${failing.run_id}?step=load&tab=outputs`);
    await page.getByRole("tabpanel").getByText("1200").waitFor(SOON);
    await page.getByRole("tab", { name: "Events" }).click();
    await page.getByRole("tabpanel").getByText("Started").first().waitFor(SOON);
    await page.goto(`${url}#/runs/details/${failing.run_id}?step=fit&tab=inputs`);
    await page.getByRole("tabpanel").getByText("0.7").waitFor(SOON);
  });
  await check("a clone begins with the same parameters, and what was cached says where it came from", async () => {
    await page.getByRole("link", { name: "Clone" }).click();
    await page.getByRole("heading", { name: "Clone run" }).waitFor(SOON);
    equal(await page.getByRole("textbox", { name: /rate/ }).inputValue(), "0.7", "the parameter");
    await page.getByRole("textbox", { name: /rate/ }).fill("0.5");
    await page.getByRole("button", { name: "Start run" }).click();
    await page.getByRole("heading", { level: 1, name: "Clone of nightly report" }).waitFor(SOON);
    await page.getByLabel("Step load", { exact: true }).locator(".chip.cached").waitFor(SOON);
    await page.getByLabel("Step load", { exact: true }).click();
    await page.getByRole("link", { name: "nightly report" }).click();
    await page.waitForURL(new RegExp(failing.run_id));
  });
  await check("a step that ran says why it was not taken from the cache", async () => {
    await page.goto(`${url}#/runs/details/${failing.run_id}?step=fit&tab=details`);
    await page.getByRole("heading", { name: "Why it was not taken from the cache" }).waitFor(SOON);
    await page.getByText("Caching is switched off for this step in the pipeline.").waitFor(SOON);
    await page.goto(`${url}#/runs/details/${failing.run_id}?step=load&tab=details`);
    await page.getByText("No earlier run of this pipeline ended well: there was nothing to take.").waitFor(SOON);
  });
  await check("a step can be copied as what other programs take", async () => {
    await page.getByRole("complementary", { name: "Chosen step" }).getByRole("button", { name: "Copy as" }).click();
    for (const name of ["kfctl", "kubectl logs", "YAML", "Python", "curl", "Link"]) await page.getByRole("menuitem", { name, exact: true }).waitFor();
    await page.keyboard.press("Escape");
  });
  await check("a step gets more memory, and the run starts anew with it", async () => {
    await page.goto(`${url}#/runs/new?from=${failing.run_id}&memory=root.fit`);
    const memory = page.getByRole("textbox", { name: /Memory of fit/ });
    await memory.fill("much");
    await page.getByRole("button", { name: "Start run" }).click();
    await page.getByText("Memory is a quantity, as in 4G or 512M").waitFor(SOON);
    await memory.fill("512M");
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("with memory");
    await page.getByRole("button", { name: "Start run" }).click();
    await page.getByRole("heading", { level: 1, name: "with memory" }).waitFor(SOON);
    const run = await platform.api("GET", `/runs/${page.url().split("/details/")[1].split("?")[0]}`);
    const document = run.pipeline_spec.pipeline_spec ?? run.pipeline_spec;
    equal(document.deploymentSpec.executors["exec-fit"].container.resources, { resourceMemoryLimit: "512M" }, "what the step may use");
  });
  await check("a run is archived, leaves the list, and is restored", async () => {
    await page.goto(`${url}#/runs/details/${failing.run_id}`);
    await page.getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menuitem", { name: "Archive" }).click();
    await page.getByText("Archived", { exact: true }).waitFor(SOON);
    await page.goto(`${url}#/runs?filter=is:archived`);
    await page.getByRole("link", { name: "nightly report", exact: true }).waitFor(SOON);
    await page.getByRole("link", { name: "nightly report", exact: true }).click();
    await page.getByRole("button", { name: "Restore" }).click();
    await page.getByText("Archived", { exact: true }).waitFor({ state: "detached", ...SOON });
  });
  const held = await submit(platform, HELD, "held");
  await check("a step that runs shows how much processor and memory it uses", async () => {
    await page.goto(`${url}#/runs/details/${held.run_id}`);
    const usage = page.getByRole("region", { name: "CPU and memory" });
    await usage.getByRole("img", { name: /^Memory while this page looked: now \d/ }).waitFor({ timeout: 180_000 });
    await usage.getByRole("img", { name: /^CPU while this page looked: now \d/ }).waitFor(SOON);
    await page.getByRole("button", { name: "Shell" }).click();
    await page.getByRole("dialog", { name: "A shell in wait" }).getByText(/^kubectl exec -it -n kubeflow wait-/).waitFor(SOON);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "A shell in wait" }).waitFor({ state: "detached" });
  });
  await check("a run is terminated, after a question that says what is lost, and retried", async () => {
    await page.goto(`${url}#/runs/details/${held.run_id}`);
    await page.getByRole("log").getByText("waiting").waitFor({ timeout: 240_000 });
    await page.getByRole("button", { name: "Terminate" }).click();
    await page.getByRole("dialog").getByText("what they have not written is lost").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Terminate" }).click();
    await page.waitForFunction(() => document.title.startsWith("Failed"), undefined, { timeout: 240_000 });
    await page.getByRole("button", { name: "Retry", exact: true }).click();
    await page.waitForFunction(() => document.title.startsWith("●"), undefined, SOON);
  });
  await check("a run is deleted, and its page says that it is gone", async () => {
    await page.getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menuitem", { name: "Delete…" }).click();
    await page.getByRole("dialog").getByRole("heading", { name: "Delete held?" }).waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("heading", { level: 1, name: "Runs" }).waitFor(SOON);
    await page.goto(`${url}#/runs/details/${held.run_id}`);
    await page.getByRole("alert").getByText("not found").waitFor(SOON);
    // The request's name is folded away.
    await page.getByText("Details", { exact: true }).click();
    await page.getByRole("alert").getByText(/grep [0-9a-f]{16}$/).waitFor(SOON);
  });
  await page.context().close();
}

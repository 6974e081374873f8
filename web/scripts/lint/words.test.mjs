import { RuleTester } from "eslint";
import tseslint from "typescript-eslint";
import { afterAll, describe, it } from "vitest";
import words from "./words.mjs";

RuleTester.afterAll = afterAll;
RuleTester.describe = describe;
RuleTester.it = it;
const tester = new RuleTester({ languageOptions: { parser: tseslint.parser, parserOptions: { ecmaFeatures: { jsx: true } } } });
const errors = [{ messageId: "word" }];

tester.run("words-in-catalogue", words.rules["words-in-catalogue"], {
  valid: [
    'import { Button } from "../Some Where";',
    '<p className="plain list">{t.runs.title}</p>',
    "<code>kfctl run</code>",
    'const key = event.key === "Enter" || event.key === "ArrowDown";',
    'const column = { id: "name", sort: "created_at desc", className: "num mute" };',
    '<Command text="kfctl run pipeline.py --follow" />',
    'const items = [{ name: t.copy.curl, text: `curl \'${address}\' with words` }];',
    'type Kind = "Some Words";',
    'if (a) throw new Error("a page stands outside the shell");',
    'document.querySelector("dialog[open] input");',
    'const state = one ? "running" : "failed";',
  ],
  invalid: [
    { code: "<p>Nothing runs.</p>", errors },
    { code: '<p>{many ? "runs" : t.none}</p>', errors },
    { code: "<p>{many && `${count} found`}</p>", errors },
    { code: '<input placeholder="find" />', errors },
    { code: "<a title={`Copy ${what}`} />", errors },
    { code: 'const doing = "Reading the runs";', errors },
    { code: 'const tab = { id: "log", name: "Log" };', errors },
    { code: "const title = `Delete ${name}?`;", errors },
    { code: 'useTitle("Pipelines");', errors },
    { code: "const said = `the step ${name} failed`;", errors },
  ],
});

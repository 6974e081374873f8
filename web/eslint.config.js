import hooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";
import words from "./scripts/lint/words.mjs";

export default tseslint.config(
  { ignores: ["dist", "node_modules", "src/api/generated"] },
  ...tseslint.configs.strict,
  ...tseslint.configs.stylistic,
  {
    plugins: { "react-hooks": hooks },
    rules: {
      ...hooks.configs.recommended.rules,
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  {
    files: ["src/**/*.{ts,tsx}"],
    ignores: ["src/**/*.test.{ts,tsx}", "src/strings/**"],
    plugins: { words },
    rules: { "words/words-in-catalogue": "error" },
  },
  { files: ["scripts/**"], rules: { "no-console": "off" } },
);

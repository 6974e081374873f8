import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

// The development server passes API calls on to a running platform, which recognises its owner by the connection.
const target = process.env.FERROFLOW_URL ?? "http://127.0.0.1:7878";
const proxy = {
  target,
  changeOrigin: true,
  configure: (server: { on: (event: "proxyReq", listener: (request: { removeHeader: (name: string) => void }) => void) => void }) =>
    server.on("proxyReq", (request) => {
      request.removeHeader("origin");
      request.removeHeader("referer");
    }),
};

/** What the first page needs, as it travels. Parts that come later do not count. */
const BUDGET_BYTES = 400_000;

/** Fails the build when the first page grows too large. */
const budget: Plugin = {
  name: "budget",
  apply: "build",
  generateBundle(_, bundle) {
    const first = new Set<string>();
    const add = (name: string) => {
      const part = bundle[name];
      if (first.has(name) || part?.type !== "chunk") return;
      first.add(name);
      for (const style of part.viteMetadata?.importedCss ?? []) first.add(style);
      part.imports.forEach(add);
    };
    for (const part of Object.values(bundle)) if (part.type === "chunk" && part.isEntry) add(part.fileName);
    const sizes = [...first].map((name) => bundle[name]).map((part) => (part ? gzipSync(part.type === "chunk" ? part.code : part.source).length : 0));
    const size = sizes.reduce((sum, one) => sum + one, 0);
    if (size > BUDGET_BYTES) this.error(`the first page is ${size} bytes (gzip), more than ${BUDGET_BYTES}: load a part of it later`);
    this.info(`the first page is ${Math.round(size / 1000)} kB (gzip) of ${BUDGET_BYTES / 1000}`);
  },
};

export default defineConfig({
  plugins: [react(), budget],
  base: "./",
  build: {
    target: "es2022",
    assetsDir: "assets",
    assetsInlineLimit: 0,
  },
  server: { proxy: { "/api": proxy, "/apis": proxy } },
  preview: { proxy: { "/api": proxy, "/apis": proxy } },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}", "scripts/lint/*.test.mjs"] },
});

import react from "@vitejs/plugin-react";
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

export default defineConfig({
  plugins: [react()],
  base: "./",
  build: {
    target: "es2022",
    assetsDir: "assets",
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { manualChunks: { graph: ["@xyflow/react", "@dagrejs/dagre"] } },
    },
  },
  server: { proxy: { "/api": proxy, "/apis": proxy } },
  preview: { proxy: { "/api": proxy, "/apis": proxy } },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}", "scripts/lint/*.test.mjs"] },
});

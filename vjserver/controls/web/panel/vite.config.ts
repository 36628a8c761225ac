import { defineConfig } from "vite";

// The built files have plain names and no dates, so that the same sources always give the same bytes.
export default defineConfig({
  base: "/static/",
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        entryFileNames: "panel.js",
        assetFileNames: "panel[extname]",
        inlineDynamicImports: true,
      },
    },
  },
});

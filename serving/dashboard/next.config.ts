import type { NextConfig } from "next";

// The Python service serves `out/` next to its API, so nothing here runs on a server.
const config: NextConfig = {
  output: "export",
  trailingSlash: true,
  reactStrictMode: true,
  images: { unoptimized: true },
};

export default config;

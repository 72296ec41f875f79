import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";
import "uplot/dist/uPlot.min.css";
import "@/styles/tokens.css";
import "@/styles/base.css";
import "@/styles/shell.css";
import "@/styles/panels.css";
import { Providers } from "./providers";

export const metadata: Metadata = {
  title: { default: "Groundswell", template: "%s · Groundswell" },
  description: "Sentiment of customer messages, how it changes, and which model predicts it.",
};

export const viewport: Viewport = {
  colorScheme: "light dark",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f5f6f7" },
    { media: "(prefers-color-scheme: dark)", color: "#0f1317" },
  ],
};

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <a className="skip" href="#main">
          Skip to the content
        </a>
        <noscript>This page needs JavaScript. The API works without it: see /docs.</noscript>
        <Providers>{children}</Providers>
      </body>
    </html>
  );
}

import type { Metadata } from "next";
import { TryItView } from "@/panels/TryItView";

export const metadata: Metadata = { title: "Try it" };

export default function Page() {
  return <TryItView />;
}

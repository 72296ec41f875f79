import type { Metadata } from "next";
import { LiveView } from "@/panels/LiveView";

export const metadata: Metadata = { title: "Live" };

export default function Page() {
  return <LiveView />;
}
